import { expect, test } from 'vitest';
import { resolveConfig, type Sources } from '../../../src/config/resolve.ts';
import type { HostDefaults } from '../../../src/config/schema.ts';
import { redact } from '../../../src/errors/onboardingError.ts';

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

test('a flag is true or false, in the environment as in the file', () => {
  const newKey = (value: string) => resolve({ environment: { ONBOARDD_RENEWAL_NEW_KEY: value } });
  expect(newKey('true')).toMatchObject({ config: { renewal: { newKey: true } } });
  expect(newKey(' false')).toMatchObject({ config: { renewal: { newKey: false } } });
  expect(newKey('yes')).toEqual({ problems: ['renewal.newKey is "yes"; allowed: true or false'] });
  expect(resolve({ file: { ...required, renewal: { newKey: 'true' } } })).toHaveProperty('problems');
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

test('a secret under an unknown key is not shown', () => {
  const resolution = resolve({ environment: { ONBOARDD_PROVISIONING_TOKEN: 'hunter2' } });
  expect(JSON.stringify(resolution)).toContain('ONBOARDD_PROVISIONING_TOKEN is ***');
  expect(JSON.stringify(resolution)).not.toContain('hunter2');
});
