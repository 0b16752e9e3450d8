import { Ajv2020 } from 'ajv/dist/2020.js';
import * as v from 'valibot';
import { expect, expectTypeOf, test } from 'vitest';
import { jsonSchema, jsonSchemaOf } from '../../../src/config/jsonSchema.ts';
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
    readonly url: string;
    readonly caFile: string | null;
    readonly fleetCaFile: string | null;
    readonly fleetCaFingerprint: string | null;
    readonly tokenFile: string | null;
    readonly swarmId: string | null;
    readonly timeoutMs: number;
  };
  readonly identity: {
    readonly deviceId: string | null;
    readonly commonName: string;
    readonly keyType: 'rsa-2048' | 'rsa-3072' | 'rsa-4096' | 'ec-p256' | 'ec-p384';
  };
  readonly device: {
    readonly type: string;
    readonly architecture: string;
    readonly buildVersion: string | null;
    readonly currentOwner: string | null;
    readonly alias: string | null;
    readonly tailscaleID: string | null;
  };
  readonly nats: { readonly url: string | null; readonly tls: 'required' | 'optional' };
  readonly registration: {
    readonly api: 'jetstream' | 'request';
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
  readonly renewal: { readonly at: number | readonly [number, number] };
  readonly hooks: { readonly dir: string };
  readonly exports: Readonly<Record<string, string>>;
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
        caFile: null,
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
      },
      device: {
        type: 'mobile',
        architecture: 'arm64',
        buildVersion: '12',
        currentOwner: null,
        alias: null,
        tailscaleID: null,
      },
      nats: { url: null, tls: 'required' },
      registration: { api: 'jetstream', resultStream: null, timeoutMs: 30_000, onChange: false },
      retry: { initialMs: 1000, maxMs: 300_000, factor: 2, failedAfterMs: 900_000 },
      renewal: { at: [0.7, 0.9] },
      hooks: { dir: '/etc/onboardd/hooks.d' },
      exports: {},
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
  ['provisioning.url', 'HTTPS://a/b', true],
  ['provisioning.url', 'ftp://a', false],
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
];

const isValid = new Ajv2020({ strict: true }).compile(jsonSchema());

test.each(values)('%s may be %j: %s, to the program and to an editor', (key, value, isAllowed) => {
  expect(problemsOf(fileWith(key, value)).length === 0).toBe(isAllowed);
  expect(isValid(fileWith(key, value))).toBe(isAllowed);
});

test.each(['__proto__', 'constructor', 'prototype'])('an export cannot be called %s', (name) => {
  const file = { ...required, exports: JSON.parse(`{"${name}":5}`) };
  expect(problemsOf(file)).toEqual([`exports is {"${name}":5}; allowed: an object of paths`]);
});

test('a part of a schema that the JSON schema cannot tell is a mistake', () => {
  expect(() => jsonSchemaOf(v.bigint())).toThrow('the JSON Schema of "bigint" is not known');
});
