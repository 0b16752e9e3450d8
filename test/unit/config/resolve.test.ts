import { expect, test } from 'vitest';
import {
  changedKeys,
  coerce,
  exportsOf,
  resolveConfig,
  type Sources,
  stateDirOf,
} from '../../../src/config/resolve.ts';
import { type Config, type HostDefaults, settingKeys, settings } from '../../../src/config/schema.ts';
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

function sourcesOf(sources: Partial<Sources>): Sources {
  return { flags: {}, environment: {}, overlay: new Map(), file: required, ...sources };
}
const resolve = (sources: Partial<Sources>) => resolveConfig(sourcesOf(sources), host);
function configOf(sources: Partial<Sources>): Config {
  const resolution = resolve(sources);
  if ('problems' in resolution) throw new Error(resolution.problems.join('\n'));
  return resolution.config;
}
function problemsOf(sources: Partial<Sources>): readonly string[] {
  const resolution = resolve(sources);
  return 'problems' in resolution ? resolution.problems : [];
}

test('exports of all layers are taken together, and the higher layer wins', () => {
  const config = configOf({
    file: { ...required, exports: { token: '/file', key: '/file' } },
    overlay: new Map([['exports', { key: '/overlay', deviceId: '/overlay' }]]),
    environment: { ONBOARDD_EXPORTS: '{"deviceId":"/whole","ca":"/whole"}', ONBOARDD_EXPORTS_CA: '/one' },
  });
  expect(config.exports).toEqual({ token: '/file', key: '/overlay', deviceId: '/whole', ca: '/one' });
});

test('exports that are no object are a mistake, whatever lies below them', () => {
  const file = { ...required, exports: { token: '/file' } };
  expect(problemsOf({ file, environment: { ONBOARDD_EXPORTS: 'x' } })).toEqual([
    `exports is "x"; allowed: ${settings.exports.allowed}`,
  ]);
  expect(configOf({ environment: { ONBOARDD_EXPORTS: '[]', ONBOARDD_EXPORTS_KEY: '/k' } }).exports).toEqual({
    key: '/k',
  });
});

test('the name of an export in the environment is that of the item in camel case', () => {
  const environment = { ONBOARDD_EXPORTS_UTM_CLIENT_SECRET: '/u', ONBOARDD_EXPORTS_A_1B: '/b' };
  expect(configOf({ environment }).exports).toEqual({ utmClientSecret: '/u', a1b: '/b' });
});

test('what is not set in a layer leaves what lies below', () => {
  const overlay = new Map([['device.alias', undefined]]);
  const file = { ...required, device: { type: 'mobile', alias: 'a' } };
  expect(configOf({ file, overlay, environment: { ONBOARDD_DEVICE_ALIAS: '' } }).device.alias).toBe('a');
  expect(configOf({ file, environment: { ONBOARDD_DEVICE_ALIAS: undefined } }).device.alias).toBe('a');
});

test('text that looks like JSON stays text in the environment, but for the exports', () => {
  const { device } = configOf({ environment: { ONBOARDD_DEVICE_ALIAS: '5', ONBOARDD_DEVICE_TYPE: '"a"' } });
  expect(device).toMatchObject({ alias: '5', type: '"a"' });
});

test('the file may name its JSON schema', () => {
  expect(problemsOf({ file: { $schema: 'config.schema.json', ...required } })).toEqual([]);
});

test.each<[unknown, string]>([
  [{ ...required, retry: 5 }, 'retry is 5; allowed: an object'],
  [{ ...required, retry: [1] }, 'retry is [1]; allowed: an object'],
  [
    { ...required, retyr: 1 },
    'retyr is 1; unknown key; allowed: stateDir, provisioning, identity, device, nats, registration, retry, renewal, hooks, exports, metrics, log',
  ],
  [
    { ...required, renewal: { att: 1 } },
    'renewal.att is 1; unknown key; allowed: renewal.at, renewal.newKey',
  ],
  [{ ...required, log: { a: 1 } }, 'log.a is 1; unknown key; allowed: log.level, log.format'],
  [{ ...required, 'retry.factor': 1 }, expect.stringMatching(/^retry\.factor is 1; unknown key/)],
  [
    { provisioning: required.provisioning },
    'device.type is missing; it is required: one line of 1 to 256 characters',
  ],
])('of %j it is said that %s', (file, problem) => {
  expect(problemsOf({ file })).toEqual([problem]);
});

test('a file that is no object is a mistake besides what it leaves out', () => {
  expect(problemsOf({ file: undefined })[0]).toBe(
    'the configuration file holds undefined; allowed: a JSON object',
  );
});

test('a value that is long is cut at 120 characters', () => {
  const told = (length: number) =>
    problemsOf({ file: { ...required, stateDir: [1], log: 'x'.repeat(length) } });
  expect(told(118)).toContain(`log is "${'x'.repeat(118)}"; allowed: an object`);
  expect(told(119)).toContain(`log is "${'x'.repeat(116)}…; allowed: an object`);
});

test('credentials of a URL are masked, also those without a user', () => {
  expect(problemsOf({ file: { ...required, log: '@host' } })[0]).toBe(
    'log is "***@host"; allowed: an object',
  );
  expect(problemsOf({ file: { ...required, log: 'a b@c' } })[0]).toBe('log is "***@c"; allowed: an object');
});

test.each([
  'TOKEN',
  'SECRET',
  'PASSWORD',
  'CREDENTIAL',
  'KEY',
])('a value under an unknown %s is masked', (name) => {
  expect(problemsOf({ environment: { [`ONBOARDD_LOG_${name}`]: 'hunter2' } })).toEqual([
    `ONBOARDD_LOG_${name} is ***; unknown key`,
  ]);
});

test('a variable that only looks like one of a section is not ours', () => {
  expect(
    problemsOf({ environment: { RETRY_MAX: '1', ONBOARDD_RETRYING: '1', ONBOARDD_STATE: '1' } }),
  ).toEqual([]);
  expect(problemsOf({ environment: { ONBOARDD_RETRY_X: '' } })).toEqual([]);
  expect(problemsOf({ environment: { ONBOARDD_RETRY_X: '1' } })).toEqual([
    'ONBOARDD_RETRY_X is 1; unknown key'.replace('1', '"1"'),
  ]);
});

test.each<[string, unknown]>([
  ['5', 5],
  ['-5', -5],
  ['+1.25', 1.25],
  [' 12 ', 12],
  ['5s', '5s'],
  ['s5', 's5'],
  ['1.', '1.'],
  ['1e3', '1e3'],
  ['', ''],
])('the text %j is read as %j where a number is due', (text, expected) => {
  expect(coerce('retry.factor', text)).toBe(expected);
  expect(coerce('device.alias', text)).toBe(text);
});

test('the state directory is known whatever else is wrong: flag, environment, agent’s file, file, host', () => {
  const sources = sourcesOf({
    flags: { stateDir: '/flag' },
    environment: { ONBOARDD_STATE_DIR: '/environment' },
    overlay: new Map([['stateDir', '/overlay']]),
    file: { stateDir: '/file', retyr: 1 },
  });
  expect(stateDirOf(sources, host)).toBe('/flag');
  expect(stateDirOf({ ...sources, flags: {} }, host)).toBe('/environment');
  expect(stateDirOf({ ...sources, flags: {}, environment: { ONBOARDD_STATE_DIR: '' } }, host)).toBe(
    '/overlay',
  );
  const low = { ...sources, flags: {}, environment: {}, overlay: new Map() };
  expect(stateDirOf(low, host)).toBe('/file');
  expect(stateDirOf({ ...low, file: { stateDir: 5 } }, host)).toBe('/var/lib/onboardd');
  expect(stateDirOf({ ...low, file: null }, host)).toBe('/var/lib/onboardd');
});

test('reset learns of every path of any layer, once each', () => {
  const sources = sourcesOf({
    file: { exports: { a: '/a', b: '/b', c: 5, d: '' }, retyr: 1 },
    overlay: new Map<string, unknown>([['exports', { a: '/a', e: '/e' }]]),
    environment: { ONBOARDD_EXPORTS_F: '/f', ONBOARDD_RETRY_X: '1' },
  });
  expect(exportsOf(sources)).toEqual(['/a', '/b', '/e', '/f']);
  expect(exportsOf(sourcesOf({ file: { exports: ['/x'] } }))).toEqual([]);
});

test('the keys whose values differ are told, and no others', () => {
  const before = configOf({});
  expect(changedKeys(before, configOf({}))).toEqual([]);
  expect(changedKeys(before, configOf({ flags: { stateDir: '/x' } }))).toEqual(['stateDir']);
  const environment = { ONBOARDD_RETRY_FACTOR: '3', ONBOARDD_EXPORTS_KEY: '/k', ONBOARDD_RENEWAL_AT: '0.8' };
  expect(changedKeys(before, configOf({ environment }))).toEqual(['retry.factor', 'renewal.at', 'exports']);
  expect(settingKeys).toContain('renewal.at');
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
  [{ ...required, retyr: {} }, /retyr is \{\}; unknown key/],
  [{ ...required, retry: { factr: 1 } }, /retry\.factr is 1; unknown key; allowed: retry\.initialMs/],
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
  'http://user:hunter2 and more@ho st',
  'ftp://user:hunter2"more@host',
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
