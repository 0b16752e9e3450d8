import { Ajv2020 } from 'ajv/dist/2020.js';
import * as v from 'valibot';
import { expect, expectTypeOf, test } from 'vitest';
import type { ExportSetting } from '../../../src/config/exports.ts';
import { jsonSchema, jsonSchemaOf } from '../../../src/config/jsonSchema.ts';
import { provisioningUrls } from '../../../src/config/provisioningUrls.ts';
import { resolveConfig } from '../../../src/config/resolve.ts';
import {
  type Config,
  environmentName,
  type HostDefaults,
  type Setting,
  settingKeys,
  settings,
} from '../../../src/config/schema.ts';

const host: HostDefaults = {
  stateDir: '/var/lib/onboardd',
  architecture: 'arm64',
  buildVersion: '12',
  logFormat: 'json',
  tokenFile: null,
  caFile: null,
};
const required = { provisioning: { url: 'http://10.0.0.1' }, device: { type: 'mobile' } };

function problemsOf(file: unknown): readonly string[] {
  const resolution = resolveConfig({ flags: {}, environment: {}, overlay: new Map(), file }, host);
  return 'problems' in resolution ? resolution.problems : [];
}

/** `a.b` as the file holds it, beside what is required. */
function fileWith(key: string, value: unknown): Record<string, unknown> {
  const [section = '', name] = key.split('.');
  if (name === undefined) return { ...required, [section]: value };
  const own = (required as Record<string, object>)[section];
  return { ...required, [section]: { ...own, [name]: value } };
}

/**
 * Every key with its type, written by hand: `tsc --noEmit` fails when one is taken out of the schema, added to it, or
 * changes its type, in the schema or in the type that is derived from it.
 */
interface Expected {
  readonly stateDir: string;
  readonly provisioning: {
    readonly url: string | readonly string[] | null;
    readonly protocol: 'fleet' | 'est';
    readonly discovery: 'off' | 'mdns';
    readonly path: string;
    readonly caFile: string | null;
    readonly clientCertFile: string | null;
    readonly clientKeyFile: string | null;
    readonly proxy: string | null;
    readonly fleetCaFile: string | null;
    readonly fleetCaFingerprint: string | null;
    readonly tokenFile: string | null;
    readonly swarmId: string | null;
    readonly timeoutMs: number;
  };
  readonly identity: {
    readonly deviceId: string | null;
    readonly commonName: string;
    readonly keyType: 'rsa-2048' | 'rsa-3072' | 'rsa-4096' | 'ec-p256' | 'ec-p384' | `pkcs11:${string}`;
    readonly seal: 'off' | 'host' | 'tpm2' | 'host+tpm2';
  };
  readonly device: {
    readonly type: string;
    readonly architecture: string;
    readonly buildVersion: string | null;
    readonly currentOwner: string | null;
    readonly alias: string | null;
    readonly tailscaleID: string | null;
  };
  readonly nats: {
    readonly url: string | null;
    readonly proxy: string | null;
    readonly tls: 'required' | 'optional';
  };
  readonly registration: {
    readonly api: 'jetstream' | 'request';
    readonly caCertificate: 'answer' | 'chain';
    readonly resultStream: string | null;
    readonly timeoutMs: number;
    readonly onChange: boolean;
  };
  readonly retry: {
    readonly initialMs: number;
    readonly maxMs: number;
    readonly factor: number;
    readonly failedAfterMs: number;
  };
  readonly renewal: { readonly at: number | readonly [number, number]; readonly newKey: boolean };
  readonly hooks: { readonly dir: string };
  readonly exports: Readonly<Record<string, ExportSetting>>;
  readonly metrics: { readonly textfile: string | null };
  readonly log: {
    readonly level: 'error' | 'warn' | 'info' | 'debug';
    readonly format: 'journal' | 'pretty' | 'json';
  };
}

test('the configuration has exactly the keys and the types of the schema', () => {
  expectTypeOf<Config>().toEqualTypeOf<Expected>();
});

test('every key has a name of its own in the environment', () => {
  expect(environmentName('device.tailscaleID')).toBe('ONBOARDD_DEVICE_TAILSCALE_ID');
  expect(new Set(settingKeys.map(environmentName)).size).toBe(settingKeys.length);
});

test('a configuration has a value for every key, from the host or the schema', () => {
  const resolution = resolveConfig({ flags: {}, environment: {}, overlay: new Map(), file: required }, host);
  expect(resolution).toEqual({
    config: {
      stateDir: '/var/lib/onboardd',
      provisioning: {
        url: 'http://10.0.0.1',
        protocol: 'fleet',
        discovery: 'off',
        path: '/api/devices/provision',
        caFile: null,
        clientCertFile: null,
        clientKeyFile: null,
        proxy: null,
        fleetCaFile: null,
        fleetCaFingerprint: null,
        tokenFile: null,
        swarmId: null,
        timeoutMs: 15_000,
      },
      identity: {
        deviceId: null,
        commonName: '/Finland~Solita/fleet/{id}/registration_agent',
        keyType: 'rsa-2048',
        seal: 'off',
      },
      device: {
        type: 'mobile',
        architecture: 'arm64',
        buildVersion: '12',
        currentOwner: null,
        alias: null,
        tailscaleID: null,
      },
      nats: { url: null, proxy: null, tls: 'required' },
      registration: {
        ...{ api: 'jetstream', caCertificate: 'answer', resultStream: null, timeoutMs: 30_000 },
        onChange: false,
      },
      retry: { initialMs: 1000, maxMs: 300_000, factor: 2, failedAfterMs: 900_000 },
      renewal: { at: [0.7, 0.9], newKey: false },
      hooks: { dir: '/etc/onboardd/hooks.d' },
      exports: {},
      metrics: { textfile: null },
      log: { level: 'info', format: 'json' },
    } satisfies Config,
  });
});

test.each(settingKeys)('null and a list are no values of %s', (key) => {
  const { allowed }: Setting = settings[key];
  expect(problemsOf(fileWith(key, null))).toEqual([`${key} is null; allowed: ${allowed}`]);
  expect(problemsOf(fileWith(key, [1]))).toEqual([`${key} is [1]; allowed: ${allowed}`]);
});

const values: readonly [key: string, value: unknown, isAllowed: boolean][] = [
  ['stateDir', '/a', true],
  ['stateDir', '', false],
  ['stateDir', '/a\0', false],
  ['stateDir', '\0/a', false],
  ['stateDir', 'a'.repeat(4096), true],
  ['stateDir', 'a'.repeat(4097), false],
  ['provisioning.url', 'HTTPS://a/b', true],
  ['provisioning.url', 'http://a:80', true],
  ['provisioning.url', 'ftp://a', false],
  ['provisioning.url', ['http://a', 'https://b:1/c'], true],
  ['provisioning.url', 'http://a, http://b', true],
  ['provisioning.url', [], false],
  ['provisioning.url', ['http://a', 'ftp://b'], false],
  ['provisioning.path', '/api/mesh/provision', true],
  ['provisioning.path', 'api', false],
  ['provisioning.path', '/a?b', false],
  ['provisioning.proxy', 'off', true],
  ['provisioning.proxy', 'http://user:pw@proxy:3128', true],
  ['nats.proxy', 'http://proxy:3128', true],
  ['provisioning.swarmId', 'a'.repeat(256), true],
  ['provisioning.swarmId', 'a'.repeat(257), false],
  ['provisioning.swarmId', 'a\nb', false],
  ['provisioning.timeoutMs', 1, true],
  ['provisioning.timeoutMs', 0, false],
  ['provisioning.timeoutMs', 1.5, false],
  ['provisioning.timeoutMs', 2 ** 31 - 1, true],
  ['provisioning.timeoutMs', 2 ** 31, false],
  ['provisioning.fleetCaFingerprint', `${'ab:'.repeat(31)}AB`, true],
  ['provisioning.fleetCaFingerprint', 'ab', false],
  ['identity.deviceId', 'a_-9', true],
  ['identity.deviceId', 'a.b', false],
  ['identity.keyType', 'ec-p384', true],
  ['identity.keyType', 'rsa-1024', false],
  ['identity.keyType', 'pkcs11:token=t?module-path=/m.so', true],
  ['identity.keyType', 'pkcs11:', false],
  ['identity.seal', 'host+tpm2', true],
  ['identity.seal', 'auto', false],
  ['nats.url', Array.from({ length: 60 }, (_, n) => `nats://server-${n}`).join(), true],
  ['nats.tls', true, false],
  ['registration.resultStream', 'RESULTS', true],
  ['registration.resultStream', 'a.b', false],
  ['retry.factor', 1.5, true],
  ['retry.factor', 101, false],
  ['retry.failedAfterMs', 0, true],
  ['renewal.at', 0.01, true],
  ['renewal.at', 1, false],
  ['exports', { token: '/a', key: '/b' }, true],
  ['exports', { token: '' }, false],
  ['exports', { token: 1 }, false],
  ['exports', { token: { path: '/a' } }, true],
  ['exports', { token: { path: '/a', mode: '0640', group: 'docker' } }, true],
  ['exports', { token: { path: '/a', mode: '644' } }, true],
  ['exports', { token: { path: '/a', mode: '0666' } }, false],
  ['exports', { token: { path: '/a', mode: 640 } }, false],
  ['exports', { token: { path: '/a', owner: 'root' } }, false],
  ['exports', { token: { mode: '0640' } }, false],
];

function isValid(file: unknown): boolean {
  return new Ajv2020({ strict: true }).compile(jsonSchema())(file) === true;
}

test.each(values)('%s may be %j: %s, to the program and to an editor', (key, value, isAllowed) => {
  expect(problemsOf(fileWith(key, value)).length === 0).toBe(isAllowed);
  expect(isValid(fileWith(key, value))).toBe(isAllowed);
});

test.each(['__proto__', 'constructor', 'prototype'])('an export cannot be called %s', (name) => {
  const file = { ...required, exports: JSON.parse(`{"${name}":5}`) };
  expect(problemsOf(file)).toEqual([`exports is {"${name}":5}; allowed: ${settings.exports.allowed}`]);
});

test('a part of a schema that the JSON schema cannot tell is a mistake', () => {
  expect(() => jsonSchemaOf(v.bigint())).toThrow('the JSON Schema of "bigint" is not known');
});

test('a path alone moves an export, and leaves mode and group as they are', () => {
  const file = { ...required, exports: { token: { path: '/a', mode: '0640', group: 'docker' }, key: '/k' } };
  const overlay = new Map([['exports', { token: '/b', key: { path: '/c' } }]]);
  expect(resolveConfig({ flags: {}, environment: {}, overlay, file }, host)).toMatchObject({
    config: { exports: { token: { path: '/b', mode: '0640', group: 'docker' }, key: { path: '/c' } } },
  });
});

test.each([
  'httpx://a',
  'xhttp://a',
  'http://a?b',
  'http://a#b',
  'http://',
  'a',
])('%s is no base URL of a provisioning server', (url) => {
  expect(problemsOf(fileWith('provisioning.url', url))).toEqual([
    `provisioning.url is "${url}"; allowed: an http: or https: URL without query or fragment, or a list of them`,
  ]);
});

test.each(['http://a', ',', 'a:0'])('%s is no NATS address', (url) => {
  expect(problemsOf(fileWith('nats.url', url))).toHaveLength(1);
});

test.each<[string, string]>([
  ['stateDir', 'a path'],
  ['provisioning.swarmId', 'one line of 1 to 256 characters'],
  [
    'provisioning.fleetCaFingerprint',
    'SHA-256 as `openssl x509 -noout -fingerprint -sha256` prints it, or a comma-separated list',
  ],
  [
    'identity.keyType',
    'one of rsa-2048, rsa-3072, rsa-4096, ec-p256, ec-p384, or pkcs11:token=…?module-path=… (RFC 7512)',
  ],
  ['nats.url', 'nats://host:port, tls://host:port, host:port or host, one or a comma-separated list'],
  ['retry.factor', 'a number from 1 to 100'],
  ['retry.failedAfterMs', 'a whole number from 0 to 2147483647'],
])('what is allowed for %s is told in words: %s', (key, allowed) => {
  expect(problemsOf(fileWith(key, null))).toEqual([`${key} is null; allowed: ${allowed}`]);
});

test.each<[keyof typeof settings, string]>([
  ['provisioning.url', 'none, required without `provisioning.discovery`'],
  ['provisioning.swarmId', 'none'],
  ['provisioning.timeoutMs', '15000'],
  ['nats.tls', '`required`'],
  ['identity.deviceId', 'a new UUID without dashes'],
])('the default of %s is told in words: %s', (key, shown) => {
  expect(settings[key].shownDefault).toBe(shown);
});

test.each<[unknown, boolean]>([
  [required, true],
  [{ ...required, $schema: 'config.schema.json' }, true],
  [{ ...required, $schema: 5 }, false],
  [{ ...required, more: 1 }, false],
  [{ ...required, retry: { more: 1 } }, false],
  [{ ...required, retry: [] }, false],
  [[], false],
])('an editor takes %j for a configuration: %s', (file, expected) => {
  expect(isValid(file)).toBe(expected);
});

test('the JSON schema says of what it is, and describes each key', () => {
  expect(jsonSchema()).toMatchObject({
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'onboardd configuration',
    type: 'object',
    properties: {
      stateDir: { description: 'The state directory' },
      retry: { type: 'object', properties: { factor: { description: expect.stringContaining('grows') } } },
    },
  });
});

test.each<[string, v.GenericSchema, object]>([
  ['text', v.string(), { type: 'string' }],
  ['a number', v.number(), { type: 'number' }],
  ['a choice', v.picklist(['a', 'b']), { enum: ['a', 'b'] }],
  ['a pattern', v.pipe(v.string(), v.regex(/^a$/)), { type: 'string', pattern: '^a$' }],
  [
    'a range',
    v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(2)),
    { type: 'integer', minimum: 1, maximum: 2 },
  ],
  [
    'an object of numbers',
    v.record(v.string(), v.number()),
    { type: 'object', additionalProperties: { type: 'number' } },
  ],
  [
    'a check',
    v.pipe(
      v.string(),
      v.check((text: string) => text !== ''),
    ),
    { type: 'string' },
  ],
  ['a type of our own', v.custom(Boolean), {}],
  ['metadata', v.pipe(v.string(), v.metadata({ pattern: 'x' })), { type: 'string', pattern: 'x' }],
])('%s has its JSON schema', (_, schema, expected) => {
  expect(jsonSchemaOf(schema)).toEqual(expected);
});

test.each<[unknown, string[]]>([
  ['http://a', ['http://a']],
  ['http://a,https://b/c', ['http://a', 'https://b/c']],
  [' http://a  http://b ', ['http://a', 'http://b']],
  [
    ['http://a', 'http://b'],
    ['http://a', 'http://b'],
  ],
])('the servers of %j are %j', (url, expected) => {
  const resolution = resolveConfig(
    { flags: {}, environment: {}, overlay: new Map(), file: { ...required, provisioning: { url } } },
    host,
  );
  expect('config' in resolution && provisioningUrls(resolution.config)).toEqual(expected);
});

test('a list of servers comes from the environment, too', () => {
  for (const text of ['["http://a","http://b"]', 'http://a,http://b', 'http://a http://b']) {
    const environment = { ONBOARDD_PROVISIONING_URL: text };
    const resolution = resolveConfig({ flags: {}, environment, overlay: new Map(), file: required }, host);
    expect('config' in resolution && provisioningUrls(resolution.config)).toEqual(['http://a', 'http://b']);
  }
});

test('a claim certificate without its key is a mistake, and the other way round', () => {
  expect(problemsOf(fileWith('provisioning.clientCertFile', '/a'))).toEqual([
    'provisioning.clientKeyFile is missing; it is required with provisioning.clientCertFile',
  ]);
  expect(problemsOf(fileWith('provisioning.clientKeyFile', '/a'))).toEqual([
    'provisioning.clientCertFile is missing; it is required with provisioning.clientKeyFile',
  ]);
});

test('a server is discovered only with a pin, since anybody on the network may announce himself', () => {
  const withDiscovery = (more: object) => ({
    ...required,
    provisioning: { discovery: 'mdns', ...more },
  });
  expect(problemsOf(withDiscovery({}))).toEqual([
    'provisioning.discovery is "mdns"; allowed: only with provisioning.fleetCaFile or provisioning.fleetCaFingerprint',
  ]);
  expect(problemsOf(withDiscovery({ fleetCaFingerprint: 'ab'.repeat(32) }))).toEqual([]);
  expect(problemsOf(withDiscovery({ url: 'http://a' }))).toEqual([]);
});

test('EST needs https: and a NATS address', () => {
  const withEst = (url: string, nats: object) => ({
    ...required,
    provisioning: { url, protocol: 'est' },
    nats,
  });
  expect(problemsOf(withEst('http://a', {}))).toEqual([
    'nats.url is missing; it is required with provisioning.protocol "est", which tells none',
    'provisioning.protocol is "est"; allowed: only with https: in provisioning.url',
  ]);
  expect(problemsOf(withEst('https://a', { url: 'tls://b' }))).toEqual([]);
});

test('a key in hardware cannot be exported, and what is wrong with its URI is told without the PIN', () => {
  const withKey = (uri: string, more: object = {}) => ({
    ...fileWith('identity.keyType', uri),
    ...more,
  });
  const usable = 'pkcs11:token=a?module-path=/m.so&pin-value=81726354';
  expect(problemsOf(withKey(usable))).toEqual([]);
  expect(problemsOf(withKey(usable, { exports: { 'identity.key': '/x', certificate: '/y' } }))).toEqual([
    'exports.identity.key is "/x"; allowed: only with a key in a file, as that of identity.keyType "pkcs11:…" never leaves its token',
  ]);
  expect(problemsOf(withKey('pkcs11:token=a?pin-value=81726354'))).toEqual([
    'identity.keyType is "pkcs11:…", in which module-path= must be an absolute path; allowed: a PKCS#11 URI (RFC 7512)',
  ]);
  for (const pin of ['81726354&x=1', 'my 81726354', '1"81726354', '1\\81726354']) {
    const [problem = ''] = problemsOf(withKey(`pkcs12:?PIN-value=${pin}`));
    expect(problem).toContain('"pkcs12:?PIN-value=***"; allowed: one of rsa-2048');
  }
});
