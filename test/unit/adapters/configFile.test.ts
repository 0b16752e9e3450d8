import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  mergeLayers,
  overlaysOf,
  readAgentConfig,
  readAgentEnvironment,
  readConfigFile,
} from '../../../src/adapters/configFile.ts';

const folder = mkdtempSync(join(tmpdir(), 'config-file-'));
const file = join(folder, 'agent.env');

afterAll(() => rmSync(folder, { recursive: true }));

function read(text: string) {
  writeFileSync(file, text);
  return readAgentEnvironment(file);
}

const aliasOf = (text: string) => read(text).overlay.get('device.alias');

test.each([
  ['DEVICE_ALIAS=Alpha', 'Alpha'],
  ['  DEVICE_ALIAS = Alpha \r', 'Alpha'],
  ['export DEVICE_ALIAS=Alpha', 'Alpha'],
  ['export \tDEVICE_ALIAS=Alpha', 'Alpha'],
  ['DEVICE_ALIAS="Alpha Bravo"', 'Alpha Bravo'],
  ["DEVICE_ALIAS='Alpha Bravo'", 'Alpha Bravo'],
  ['DEVICE_ALIAS=" Alpha "', ' Alpha '],
  ['DEVICE_ALIAS=Alpha Bravo', 'Alpha Bravo'],
  ['DEVICE_ALIAS="it\'s"', "it's"],
  ["DEVICE_ALIAS=it's", "it's"],
  ['DEVICE_ALIAS="Alpha', '"Alpha'],
  ['DEVICE_ALIAS=a=b', 'a=b'],
  ['DEVICE_ALIAS=Alpha\u2028Bravo', 'Alpha\u2028Bravo'],
  ['DEVICE_ALIAS=Alpha # 1', 'Alpha'],
  ['DEVICE_ALIAS=Al\\\r\npha', 'Alpha'],
  ['DEVICE_ALIAS=Alpha#1', 'Alpha#1'],
  ['DEVICE_ALIAS="Alpha # 1"', 'Alpha # 1'],
  ['DEVICE_ALIAS=`Alpha`', '`Alpha`'],
  ['DEVICE_ALIAS="Alpha\\nBravo"', 'Alpha\\nBravo'],
  ['DEVICE_ALIAS=$HOME', '$HOME'],
])('the line %j names the alias %j', (line, alias) => {
  expect(aliasOf(`TLS=true\n${line}\nPROVISIONING_URL=http://a\n`)).toBe(alias);
});

test.each([
  '# DEVICE_ALIAS=Alpha',
  '; DEVICE_ALIAS=Alpha',
  'DEVICE_ALIAS',
  'DEVICE_ALIAS=',
  'DEVICE_ALIAS=""',
  'DEVICE_ALIAS.X=Alpha',
  '1DEVICE_ALIAS=Alpha',
])('the line %j names none', (line) => {
  expect(aliasOf(line)).toBeUndefined();
});

test('of two lines the last one counts, and a line never reaches into the next', () => {
  expect(aliasOf('DEVICE_ALIAS=Alpha\nDEVICE_ALIAS=Bravo')).toBe('Bravo');
  const { overlay } = read('DEVICE_ALIAS="Alpha\nPROVISIONING_URL=http://a"');
  expect(Object.fromEntries(overlay)).toEqual({ 'provisioning.url': 'http://a"', 'device.alias': '"Alpha' });
});

test('variables of the agent become keys, of onboardd the environment, of others nothing', () => {
  const { overlay, own, hostnameFile } = read(
    [
      'AUTOMATIC_PROVISIONING=true',
      'TLS=false',
      'PROVISIONING_URL=http://10.0.0.1',
      'SERVICE_IDENTITY_KEY_FILE=certs/identity.key',
      'DEVICE_AUTH_TOKEN_FILE=/srv/PAT.pat',
      'DEVICE_HOSTNAME_FILE=hostname',
      'ONBOARDD_RETRY_MAX_MS=5',
      'NETWORK_INTERFACE=eth0',
    ].join('\n'),
  );
  expect(Object.fromEntries(overlay)).toEqual({
    'provisioning.url': 'http://10.0.0.1',
    'nats.tls': 'optional',
    exports: { key: '/var/lib/fogdata/certs/identity.key', token: '/srv/PAT.pat' },
  });
  expect(own).toEqual({ ONBOARDD_RETRY_MAX_MS: '5' });
  expect(hostnameFile?.path).toBe('/var/lib/fogdata/hostname');
});

const places = (names: string[]) => names.map((name) => join(folder, name));

test('the files of config.d beside config.json come in the order of their names, and nothing else of that folder', () => {
  const base = join(folder, 'config.json');
  expect(overlaysOf(base)).toEqual([]);
  mkdirSync(join(folder, 'config.d'));
  for (const name of [
    '20-site.json',
    '10-fleet.json',
    '9.json',
    '.hidden.json',
    '30.json.dpkg-old',
    'README',
  ])
    writeFileSync(join(folder, 'config.d', name), '{}');
  expect(overlaysOf(base)).toEqual(
    places(['config.d/10-fleet.json', 'config.d/20-site.json', 'config.d/9.json']),
  );
  expect(overlaysOf(join(folder, 'other.json'))).toEqual([]);
});

test('a layer changes the keys that it names and leaves the others, exports item by item', () => {
  expect(
    mergeLayers([
      { device: { type: 'linux' }, exports: { key: '/a', token: '/t' } },
      {},
      { device: { alias: 'one' }, provisioning: { url: 'http://a' }, exports: { key: '/b' } },
      { device: { alias: 'two' }, log: { level: 'debug' } },
    ]),
  ).toEqual({
    device: { type: 'linux', alias: 'two' },
    provisioning: { url: 'http://a' },
    exports: { key: '/b', token: '/t' },
    log: { level: 'debug' },
  });
});

test('a layer of another shape, or with a name of the language, breaks nothing', () => {
  expect(mergeLayers([{ device: { type: 'a' } }, { device: 'b' }])).toEqual({ device: 'b' });
  const hostile = mergeLayers([{}, JSON.parse('{"__proto__":{"polluted":1},"constructor":{"a":1}}')]);
  expect(Object.keys(hostile as object)).toContain('constructor');
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
});

const yaml = join(folder, 'config.yaml');

test('the settings of generation 3 become keys; relative paths lie beside the file', async () => {
  writeFileSync(
    yaml,
    [
      'TLS: True',
      'NatsEndpointFile: service_nats_url.txt',
      'Device:',
      '  Type: "laptop"',
      '  Alias: Alpha # the first',
      '  Architecture: "linux/amd64"',
      '  ConfigurationFile: docker-compose.yml',
      '  HostnameFile: /etc/hostname',
      'Identity: { KeyFile: identity.key, File: device_id.json }',
      'Secrets: { AuthTokenFile: PAT.pat }',
    ].join('\n'),
  );
  const { overlay, files, hostnameFile } = await readAgentConfig(yaml);
  expect(Object.fromEntries(overlay)).toEqual({
    'nats.tls': 'required',
    'device.type': 'laptop',
    'device.alias': 'Alpha',
    'device.architecture': 'linux/amd64',
    exports: {
      natsUrl: join(folder, 'service_nats_url.txt'),
      configuration: join(folder, 'docker-compose.yml'),
      key: join(folder, 'identity.key'),
      token: join(folder, 'PAT.pat'),
    },
  });
  expect(files).toMatchObject({
    key: join(folder, 'identity.key'),
    deviceIdJson: join(folder, 'device_id.json'),
  });
  expect(hostnameFile?.path).toBe('/etc/hostname');
});

test.each([
  ['Secrets: "hunter2', /invalid YAML in line 1/],
  ['- hunter2', /no mapping/],
  ['TLS: true\nDevice: {Alias: hunter2}\nDevice: {Alias: hunter2}', /invalid YAML in line 3: DUPLICATE_KEY/],
])('the invalid file %j is refused, and nothing of it is quoted', async (text, message) => {
  writeFileSync(yaml, text);
  const error: unknown = await readAgentConfig(yaml).catch((reason: unknown) => reason);
  expect(String(error)).toMatch(message);
  expect(String(error)).not.toContain('hunter2');
});

test('an empty file of generation 3 says nothing', async () => {
  writeFileSync(yaml, '# nothing\n');
  expect((await readAgentConfig(yaml)).overlay.size).toBe(0);
});

test('a byte order mark in front of a configuration file is taken off, and one elsewhere is a syntax error', async () => {
  const path = join(folder, 'config.json');
  writeFileSync(path, '\uFEFF{"device": {"type": "mobile"}}');
  expect(await readConfigFile(path)).toEqual({ device: { type: 'mobile' } });
  writeFileSync(path, '\uFEFF{"device": \uFEFF{}}');
  await expect(readConfigFile(path)).rejects.toThrow('invalid JSON at line 1, column 12');
});
