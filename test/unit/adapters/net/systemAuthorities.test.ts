import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAuthority } from '../../../../fleet/ca.ts';
import { systemAuthorities } from '../../../../src/adapters/net/systemAuthorities.ts';

const place = mkdtempSync(join(tmpdir(), 'authorities-'));
const folder = join(place, 'certs');
const bundle = join(place, 'bundle.pem');
let one = '';
let two = '';

beforeAll(async () => {
  one = (await createAuthority({ commonName: 'one' })).pem;
  two = (await createAuthority({ commonName: 'two' })).pem;
  mkdirSync(folder);
  writeFileSync(bundle, `# a comment\n${one}`);
  writeFileSync(join(folder, 'two.pem'), two.replaceAll('\n', '\r\n'));
  symlinkSync('two.pem', join(folder, '0123abcd.0'));
  symlinkSync('gone.pem', join(folder, 'dangling.0'));
  writeFileSync(join(folder, 'notes.txt'), '-----BEGIN CERTIFICATE-----\nnot the end');
});
afterAll(() => rmSync(place, { recursive: true }));

test('SSL_CERT_FILE and SSL_CERT_DIR stand in for the places of the distribution, each certificate once', () => {
  expect(systemAuthorities({ SSL_CERT_FILE: bundle, SSL_CERT_DIR: folder })).toEqual([one, two]);
});

test('NODE_EXTRA_CA_CERTS is added', () => {
  const environment = {
    SSL_CERT_FILE: bundle,
    SSL_CERT_DIR: place,
    NODE_EXTRA_CA_CERTS: join(folder, 'two.pem'),
  };
  expect(systemAuthorities(environment)).toEqual([one, two]);
});

test('a system without certificates leaves the choice to Node', () => {
  const nowhere = { SSL_CERT_FILE: '/nonexistent', SSL_CERT_DIR: '/nonexistent:/nowhere' };
  expect(systemAuthorities(nowhere)).toBeUndefined();
});
