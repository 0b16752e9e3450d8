import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseNatsAddresses } from '../src/config/natsAddress.ts';
import { resolveConfig, type Sources } from '../src/config/resolve.ts';
import type { HostDefaults } from '../src/config/schema.ts';
import { redact } from '../src/errors/onboardingError.ts';
import { backoffMs } from '../src/machines/backoff.ts';
import { renewAt } from '../src/machines/renewal.ts';
import { stageOf } from '../src/machines/stage.ts';
import { readResult } from '../src/services/onboarding/registrationResult.ts';
import { parseState } from '../src/services/state/deviceState.ts';

const host: HostDefaults = {
  stateDir: '/var/lib/onboardd',
  architecture: 'arm64',
  buildVersion: '12',
  logFormat: 'json',
  tokenFile: null,
  caFile: null,
};
const required = { provisioning: { url: 'http://10.0.0.1' }, device: { type: 'mobile' } };
const resolve = (sources: Partial<Sources>) =>
  resolveConfig({ flags: {}, environment: {}, overlay: new Map(), file: required, ...sources }, host);

test('a start enters at the earliest step that is not finished', () => {
  expect(stageOf({ key: false, certificate: 'none', result: false })).toBe('keygen');
  expect(stageOf({ key: false, certificate: 'foreign', result: true })).toBe('keygen');
  expect(stageOf({ key: true, certificate: 'none', result: false })).toBe('csr');
  expect(stageOf({ key: true, certificate: 'expired', result: true })).toBe('csr');
  expect(stageOf({ key: true, certificate: 'usable', result: false })).toBe('provisioned');
  expect(stageOf({ key: true, certificate: 'usable', result: true })).toBe('registered');
  expect(stageOf({ key: true, certificate: 'due', result: true })).toBe('renewal');
  expect(stageOf({ key: true, certificate: 'due', result: false })).toBe('provisioned');
});

test('waits are full jitter under a growing ceiling, and never less than the server asked for', () => {
  const policy = { initialMs: 1000, maxMs: 300_000, factor: 2 };
  expect(backoffMs(policy, 1, 0.5)).toBe(500);
  expect(backoffMs(policy, 3, 0.5)).toBe(2000);
  expect(backoffMs(policy, 5000, 0.999)).toBeLessThanOrEqual(300_000);
  expect(backoffMs(policy, 1, 0, 7000)).toBe(7000);
  expect(backoffMs(policy, 1, 0, 1e15)).toBe(3_600_000);
});

test('renewal lies at the fraction of the life that was rolled', () => {
  const life = { notBefore: new Date(0), notAfter: new Date(1000) };
  expect(renewAt(life, 0.5, 0.9, 0).getTime()).toBe(500);
  expect(renewAt(life, [0.7, 0.9], 0.5, 0).getTime()).toBe(800);
});

test('a certificate that was dated back is renewed at the fraction of what is left', () => {
  const life = { notBefore: new Date(0), notAfter: new Date(1000) };
  expect(renewAt(life, 0.5, 0, 800).getTime()).toBe(900);
});

test.each([
  ['nats://a:1', [{ host: 'a', port: 1 }]],
  ['tls://a.b:65535/', [{ host: 'a.b', port: 65535 }]],
  ['10.0.0.1', [{ host: '10.0.0.1', port: 4222 }]],
  [
    'a, tls://b:1,',
    [
      { host: 'a', port: 4222 },
      { host: 'b', port: 1 },
    ],
  ],
  ['nats://[::1]:5', [{ host: '::1', port: 5 }]],
  ['nats://s3cret@h', [{ host: 'h', port: 4222, token: 's3cret' }]],
  ['user:1234pw@h', [{ host: 'h', port: 4222, user: 'user', password: '1234pw' }]],
])('the NATS address %s is understood', (text, expected) => {
  expect(parseNatsAddresses(text)).toEqual(expected);
});

test.each([
  '',
  ' , ',
  'http://a',
  'a:0',
  'a:99999',
  'a b',
  'nats://',
  '[nonsense]:1',
  'a:port',
])('the NATS address "%s" is refused', (text) => {
  expect(() => parseNatsAddresses(text)).toThrow(TypeError);
});

test('flag wins over environment over agent’s file over configuration file over default', () => {
  const sources: Partial<Sources> = {
    flags: { stateDir: '/flag' },
    environment: {
      ONBOARDD_STATE_DIR: '/environment',
      ONBOARDD_RETRY_MAX_MS: '5',
      ONBOARDD_EXPORTS_TOKEN: '/pat',
    },
    overlay: new Map<string, unknown>([
      ['device.alias', 'agent'],
      ['exports', { deviceId: '/id' }],
    ]),
    file: { ...required, device: { type: 'mobile', alias: 'file' }, retry: { maxMs: 7, factor: 3 } },
  };
  expect(resolve(sources)).toMatchObject({
    config: {
      stateDir: '/flag',
      retry: { maxMs: 5, factor: 3, initialMs: 1000 },
      device: { alias: 'agent' },
      exports: { token: '/pat', deviceId: '/id' },
    },
  });
});

test.each([
  [{ ...required, retyr: {} }, /retyr is \{\}; there is no such key/],
  [
    { ...required, retry: { factr: 1 } },
    /retry\.factr is 1; there is no such key; allowed: retry\.initialMs/,
  ],
  [{ ...required, retry: { maxMs: '5' } }, /retry\.maxMs is "5"; allowed: a whole number from 1/],
  [{ ...required, identity: { deviceId: 'a.b' } }, /identity\.deviceId is "a\.b"; allowed: 1 to 64 of/],
  [{ ...required, registration: { timeoutMs: 2 ** 31 } }, /registration\.timeoutMs is 2147483648/],
  [{ device: required.device }, /provisioning\.url is missing/],
  [[], /the configuration file holds \[\]/],
])('a mistake names the key, the value and what is allowed: %#', (file, expected) => {
  const resolution = resolve({ file });
  expect('problems' in resolution && resolution.problems.join('\n')).toMatch(expected);
});

test('a misspelt environment variable of a section is a mistake, an unrelated one is not', () => {
  expect(resolve({ environment: { ONBOARDD_RETRY_MAX: '1' } })).toHaveProperty('problems');
  expect(resolve({ environment: { ONBOARDD_HOME: '1' } })).toHaveProperty('config');
});

test.each([
  'ftp://user:hunter2@host',
  '//user:hunter2@host',
  'user:hunter2@host',
])('the credentials of %s never reach a message', (url) => {
  const resolution = resolve({ file: { ...required, provisioning: { url } } });
  expect(JSON.stringify(resolution)).not.toContain('hunter2');
  expect(redact('nats://user:hunter2@host failed')).toBe('nats://***@host failed');
});

test.each([
  '{"status":"success","payload":{"alias":"a"},"alias":"a"}',
  '{"alias":"laptop-1","token":"aGVsbG8K"}',
  '{"payload":{"token":"aGVsbG8K"},"status":"success"}',
])('%s says registered', (text) => {
  expect(readResult(text).kind).toBe('success');
});

test.each([
  '',
  'null',
  '[]',
  '"success"',
  '{}',
  '{"status":"ok"}',
  '{"status":true}',
  '{"alias":5}',
])('%s is no result', (text) => {
  expect(() => readResult(text)).toThrow(/answer/);
});

test('whatever arrives, parsers answer or refuse, and only a status or a field says registered', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      for (const parse of [readResult, parseState, parseNatsAddresses]) {
        try {
          parse(text);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
          expect((error as Error).message.length).toBeLessThan(600);
        }
      }
      expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    }),
    { numRuns: 2000 },
  );
});

test('a secret under an unknown key is not shown', () => {
  const resolution = resolve({ environment: { ONBOARDD_PROVISIONING_TOKEN: 'hunter2' } });
  expect(JSON.stringify(resolution)).toContain('ONBOARDD_PROVISIONING_TOKEN is ***');
  expect(JSON.stringify(resolution)).not.toContain('hunter2');
});
