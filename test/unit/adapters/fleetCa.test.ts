import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAuthority } from '../../../fleet/ca.ts';
import { fleetCaPins } from '../../../src/adapters/fleetCa.ts';
import { resolveConfig } from '../../../src/config/resolve.ts';
import type { Config } from '../../../src/config/schema.ts';

const place = mkdtempSync(join(tmpdir(), 'fleet-ca-'));
const path = join(place, 'ca.pem');
let pems: string[] = [];

beforeAll(async () => {
  const authorities = await Promise.all(['one', 'two'].map((commonName) => createAuthority({ commonName })));
  pems = authorities.map(({ pem }) => pem);
});

afterAll(() => rmSync(place, { recursive: true }));

const host = {
  stateDir: '/var/lib/onboardd',
  architecture: 'amd64',
  buildVersion: null,
  logFormat: 'json',
  tokenFile: null,
  caFile: null,
} as const;

function configured(provisioning: Record<string, unknown>): Config | readonly string[] {
  const file = { provisioning: { url: 'http://10.0.0.1', ...provisioning }, device: { type: 'mobile' } };
  const resolved = resolveConfig({ flags: {}, environment: {}, overlay: new Map(), file }, host);
  return 'config' in resolved ? resolved.config : resolved.problems;
}

const pins = (provisioning: Record<string, unknown>) => fleetCaPins(configured(provisioning) as Config);
const digest = (pem: string) => createHash('sha256').update(new X509Certificate(pem).raw).digest('hex');
const digests = () => pems.map(digest);

test('without either key any CA is allowed', () => {
  expect(pins({})).toBeNull();
});

test('every certificate of the file counts, whatever stands around them', () => {
  writeFileSync(path, `Subject: one\n${pems[0]}\nSubject: two\r\n${pems[1]?.replaceAll('\n', '\r\n')}`);
  expect(pins({ fleetCaFile: path })).toEqual(digests());
});

test.each([
  ['as openssl prints it', (hex: string) => `sha256 Fingerprint=${colons(hex)}`],
  ['as an older openssl prints it', (hex: string) => `SHA256 Fingerprint=${colons(hex)}\n`],
  ['with colons', (hex: string) => colons(hex)],
  ['in lower case without colons', (hex: string) => hex],
  ['in upper case without colons', (hex: string) => hex.toUpperCase()],
])('a fingerprint may be written %s', (_, written) => {
  const [hex = ''] = digests();
  expect(pins({ fleetCaFingerprint: written(hex) })).toEqual([hex]);
});

test('several fingerprints, and the file beside them, are all allowed, each once', () => {
  const [one = '', two = ''] = digests();
  expect(pins({ fleetCaFingerprint: `${colons(one)}, ${two}` })).toEqual([one, two]);
  writeFileSync(path, pems[0] ?? '');
  expect(pins({ fleetCaFile: path, fleetCaFingerprint: `${one},${two}` })).toEqual([one, two]);
});

test.each([
  '',
  'ab',
  '0'.repeat(63),
  '0'.repeat(65),
  'g'.repeat(64),
  `${'0'.repeat(64)},`,
  `md5 Fingerprint=${'0'.repeat(64)}`,
])('the fingerprint %j is refused', (fleetCaFingerprint) => {
  expect(configured({ fleetCaFingerprint })).toEqual([
    expect.stringMatching(/^provisioning\.fleetCaFingerprint is .*; allowed: SHA-256/),
  ]);
});

test.each([
  ['nothing', () => ''],
  ['a key', () => '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'],
  ['a certificate that is cut short', () => pems[0]?.slice(0, -40) ?? ''],
  ['a certificate and one that is cut short', () => `${pems[0]}${pems[1]?.slice(0, -40)}`],
  ['a damaged certificate', () => pems[0]?.replace(/\n[^\n]+\n/, '\n') ?? ''],
])('a file with %s is refused', (_, text) => {
  writeFileSync(path, text());
  expect(() => pins({ fleetCaFile: path })).toThrow();
});

test('a file that is not there is refused', () => {
  expect(() => pins({ fleetCaFile: join(place, 'absent') })).toThrow(/ENOENT/);
});

function colons(hex: string): string {
  return hex.toUpperCase().match(/../g)?.join(':') ?? '';
}
