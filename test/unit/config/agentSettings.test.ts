import { expect, test } from 'vitest';
import {
  type AgentFiles,
  fromAgentVariables,
  fromAgentYaml,
  mergedAgents,
  noAgent,
} from '../../../src/config/agentSettings.ts';

const folder = '/var/lib/fogdata';
const read = (values: Record<string, string>) =>
  fromAgentVariables(new Map(Object.entries(values)), folder, '--env-file');
const readYaml = (document: unknown) => fromAgentYaml(document, folder, '--agent-config');

/** protocol.md, part 4 */
const generation1 = `AUTOMATIC_PROVISIONING TLS PROVISIONING_URL DEVICE_ALIAS SERVICE_IDENTITY_KEY_FILE
  SERVICE_IDENTITY_CERTIFICATE_FILE SERVICE_IDENTITY_CA_FILE SERVICE_NATS_URL_FILE DEVICE_ID_FILE DEVICE_IDENTITY_FILE
  DEVICE_AUTH_TOKEN_FILE DEVICE_CONFIGURATION_FILE UTM_CLIENT_SECRET_FILE RABBIT_MQ_SECRET_FILE DEVICE_HOSTNAME_FILE
  IP_ADDRESS_FILE FLEET_NATS_LEAF_CONFIG_FILE SERVICE_FLEET_LEAF_CERTIFICATE_FILE SERVICE_FLEET_LEAF_CA_FILE
  SERVICE_SWARM_KEY_FILE SERVICE_SWARM_CA_FILE POST_INSTALLATION_DIRECTORY ENCRYPTED_SECRETS NETWORK_INTERFACE`;
const generation2 = `TLS MDNS DEVICE_TYPE DEVICE_ALIAS IDENTITY_FILE IDENTITY_SERIAL_NUMBER_FILE PROVISIONING_URL
  NATS_ENDPOINT_FILE DEVICE_HOSTNAME_FILE DEVICE_IP_ADDRESS_FILE DEVICE_CONFIGURATION_FILE
  IDENTITY_CERTIFICATE_REQUEST_FILE IDENTITY_KEY_FILE IDENTITY_CERT_FILE IDENTITY_CA_CERT_FILE SECRETS_AUTH_TOKEN_FILE
  SECRETS_UTM_SECRET_FILE DEVICE_NATS_LEAF_CONFIGURATION_FILE DEVICE_CONFIGURATION_TEMPLATE_FILE
  IDENTITY_FLEET_CLUSTER_KEY_FILE IDENTITY_FLEET_LEAF_CERT_FILE IDENTITY_SWARM_CA_FILE`;
const generation3 = `TLS MDNS NatsEndpointFile Device.Type Device.Alias Device.Architecture Device.Topology
  Device.IpAddressFile Device.HostnameFile Device.ConfigurationFile Device.ConfigurationTemplateFile
  Device.NatsLeafConfigurationFile Device.HardwareConfigurationFile Identity.CaCertFile Identity.CertFile Identity.KeyFile
  Identity.SerialNumberFile Identity.CertificateRequestFile Identity.File Identity.FleetClusterKeyFile
  Identity.SwarmCaKeyFile Identity.SwarmRootCaFile Secrets.AuthTokenFile Secrets.UtmSecretFile`;

/** Whether a setting had an effect, or was named in the log. */
function isUsedOrNamed({
  overlay,
  notes,
  files,
  hostnameFile,
  requestsCertificates,
}: ReturnType<typeof read>) {
  return (
    overlay.size > 0 ||
    notes.length > 0 ||
    hostnameFile !== null ||
    !requestsCertificates ||
    Object.values(files).some((path) => path !== null)
  );
}

test.each([
  ...new Set(`${generation1} ${generation2}`.split(/\s+/)),
])('%s is used, or named in the log', (name) => {
  const isSwitch = ['TLS', 'AUTOMATIC_PROVISIONING', 'MDNS', 'ENCRYPTED_SECRETS'].includes(name);
  const value = isSwitch ? (name === 'AUTOMATIC_PROVISIONING' ? 'false' : 'true') : 'value';
  expect(isUsedOrNamed(read({ [name]: value }))).toBe(true);
});

test.each(generation3.split(/\s+/))('%s of generation 3 is used, or named in the log, and known', (name) => {
  const value = ['TLS', 'MDNS'].includes(name) ? true : 'value';
  const [section = '', key] = name.split('.');
  const settings = readYaml(key === undefined ? { [section]: value } : { [section]: { [key]: value } });
  expect(isUsedOrNamed(settings)).toBe(true);
  expect(settings.notes.join()).not.toContain('unknown');
});

test('variables of other programs are passed over in silence, keys of nobody in YAML are named', () => {
  expect(isUsedOrNamed(read({ PATH: '/bin', HOME: '/' }))).toBe(false);
  expect(readYaml({ Color: 'red', Device: { Colour: 'red' } }).notes).toEqual([
    'Color in --agent-config is unknown, and passed over',
    'Device.Colour in --agent-config is unknown, and passed over',
  ]);
});

test.each(['true', 'True', 'TRUE', 't', '1'])('TLS=%s requires TLS', (value) => {
  expect(read({ TLS: value }).overlay.get('nats.tls')).toBe('required');
});

test.each(['false', 'False', 'F', '0'])('TLS=%s accepts a server without', (value) => {
  expect(read({ TLS: value }).overlay.get('nats.tls')).toBe('optional');
});

test.each(['TLS', 'AUTOMATIC_PROVISIONING', 'MDNS'])('%s=maybe is a mistake that is named', (name) => {
  const { problems, overlay } = read({ [name]: 'maybe' });
  expect(problems).toEqual([`${name} in --env-file is "maybe"; allowed: true or false`]);
  expect(overlay.size).toBe(0);
});

test.each([
  ['yes', 'on', 'required'],
  ['no', 'off', 'optional'],
])('a YAML file may say %s and %s, as it may to the agent', (first, second, expected) => {
  for (const TLS of [first, second]) expect(readYaml({ TLS }).overlay.get('nats.tls')).toBe(expected);
  expect(read({ TLS: first }).problems).not.toEqual([]);
});

test.each([
  'yesterday',
  'eyes',
  'once',
  'none',
  'piano',
  'offset',
])('TLS: %s in a YAML file is neither true nor false', (TLS) => {
  expect(readYaml({ TLS }).problems).toEqual([`TLS in --agent-config is "${TLS}"; allowed: true or false`]);
});

test('MDNS=true looks for the provisioning server, MDNS=false changes nothing', () => {
  expect([...read({ MDNS: 'True' }).overlay]).toEqual([['provisioning.discovery', 'mdns']]);
  expect([...readYaml({ MDNS: true }).overlay]).toEqual([['provisioning.discovery', 'mdns']]);
  expect([...read({ MDNS: 'false' }).overlay]).toEqual([]);
});

test('a mapping in the place of a value, or a value in the place of a section, is a mistake', () => {
  expect(readYaml({ Device: 'laptop', Secrets: { AuthTokenFile: ['a'] } }).problems).toEqual([
    'Device in --agent-config is not a mapping; allowed: a mapping of keys',
    'Secrets.AuthTokenFile in --agent-config is not a single value; allowed: text, true or false',
  ]);
});

test('AUTOMATIC_PROVISIONING=false says that no certificate is requested', () => {
  const { requestsCertificates, notes } = read({ AUTOMATIC_PROVISIONING: 'False' });
  expect(requestsCertificates).toBe(false);
  expect(notes).toEqual(['AUTOMATIC_PROVISIONING=false in --env-file: no certificate is requested']);
  expect(read({ AUTOMATIC_PROVISIONING: 'true' })).toMatchObject({ requestsCertificates: true, notes: [] });
});

test('both files together: the YAML wins, name by name', () => {
  const merged = mergedAgents(
    read({ SERVICE_IDENTITY_KEY_FILE: 'old.key', DEVICE_AUTH_TOKEN_FILE: 'PAT.pat', DEVICE_ALIAS: 'old' }),
    readYaml({ Identity: { KeyFile: 'new.key' }, Device: { Alias: 'new' } }),
  );
  expect(merged.overlay.get('exports')).toEqual({ key: `${folder}/new.key`, token: `${folder}/PAT.pat` });
  expect(merged.overlay.get('device.alias')).toBe('new');
  expect(merged.files.key).toBe(`${folder}/new.key`);
});

const noFiles: AgentFiles = {
  ...{ deviceId: null, deviceIdJson: null, key: null },
  ...{ certificate: null, caCertificate: null, natsUrl: null, identity: null },
};
const at = (name: string) => `${folder}/${name}`;

test('no settings mean nothing, and allow certificate requests', () => {
  const nothing = { overlay: new Map(), hostnameFile: null, files: noFiles, requestsCertificates: true };
  expect(noAgent).toEqual({ ...nothing, notes: [], problems: [] });
  expect(read({})).toEqual(noAgent);
  expect(readYaml({})).toEqual(noAgent);
});

test.each<[string, Partial<AgentFiles>, Record<string, string>]>([
  ['SERVICE_IDENTITY_KEY_FILE', { key: at('x') }, { key: at('x') }],
  ['SERVICE_IDENTITY_CERTIFICATE_FILE', { certificate: at('x') }, { certificate: at('x') }],
  ['SERVICE_IDENTITY_CA_FILE', { caCertificate: at('x') }, { caCertificate: at('x') }],
  ['SERVICE_NATS_URL_FILE', { natsUrl: at('x') }, { natsUrl: at('x') }],
  ['DEVICE_ID_FILE', { deviceId: at('x') }, { deviceId: at('x') }],
  ['DEVICE_IDENTITY_FILE', { identity: at('x') }, { identity: at('x') }],
  ['DEVICE_AUTH_TOKEN_FILE', {}, { token: at('x') }],
  ['DEVICE_CONFIGURATION_FILE', {}, { configuration: at('x') }],
  ['UTM_CLIENT_SECRET_FILE', {}, { utmClientSecret: at('x') }],
  ['RABBIT_MQ_SECRET_FILE', {}, { rabbitMqSecret: at('x') }],
  ['SECRETS_AUTH_TOKEN_FILE', {}, { token: at('x') }],
  ['SECRETS_UTM_SECRET_FILE', {}, { utmClientSecret: at('x') }],
])('%s names a file', (name, files, exports) => {
  const settings = read({ [name]: 'x' });
  expect(settings.files).toEqual({ ...noFiles, ...files });
  expect(settings.overlay).toEqual(new Map([['exports', exports]]));
  expect(settings.notes).toEqual([]);
});

test.each<[string, string, Record<string, string>]>([
  ['Secrets', 'UtmSecretFile', { utmClientSecret: at('x') }],
  ['Secrets', 'AuthTokenFile', { token: at('x') }],
  ['Device', 'ConfigurationFile', { configuration: at('x') }],
])('%s.%s of generation 3 names a file', (section, name, exports) => {
  expect(readYaml({ [section]: { [name]: ' x ' } }).overlay).toEqual(new Map([['exports', exports]]));
});

test.each([
  ['Type', 'device.type'],
  ['Alias', 'device.alias'],
  ['Architecture', 'device.architecture'],
] as const)('Device.%s of generation 3 is %s', (name, key) => {
  expect(readYaml({ Device: { [name]: 'x' } }).overlay).toEqual(new Map([[key, 'x']]));
});

test('the identity file is read and never written, which is named', () => {
  for (const [settings, source, name] of [
    [read({ IDENTITY_FILE: '/x.json' }), '--env-file', 'IDENTITY_FILE'],
    [readYaml({ Identity: { File: '/x.json' } }), '--agent-config', 'Identity.File'],
  ] as const) {
    expect(settings.files).toEqual({ ...noFiles, deviceIdJson: '/x.json' });
    expect(settings.overlay.size).toBe(0);
    expect(settings.notes).toEqual([
      `${name} in ${source} is read, and never written: its shape is not public`,
    ]);
  }
});

test('what is passed over is named on one line, each with its reason', () => {
  const { notes } = read({
    IP_ADDRESS_FILE: 'a',
    NETWORK_INTERFACE: 'b',
    SERVICE_SWARM_KEY_FILE: 'c',
    IDENTITY_SWARM_CA_FILE: 'd',
  });
  expect(notes).toEqual([
    'passed over in --env-file: IP_ADDRESS_FILE (the fleet asks for no such thing), NETWORK_INTERFACE (onboardd has no use for it), SERVICE_SWARM_KEY_FILE (its meaning is not public), IDENTITY_SWARM_CA_FILE (its meaning is not public)',
  ]);
});

test('names that only contain one of the families are not of it', () => {
  expect(read({ MY_IDENTITY_SWARM_CA_FILE: 'x' })).toEqual(noAgent);
  expect(readYaml({ 'My.Identity.SwarmCaFile': 'x' }).notes).toEqual([
    'My.Identity.SwarmCaFile in --agent-config is unknown, and passed over',
  ]);
});

test.each<[string, unknown, Partial<ReturnType<typeof read>>]>([
  ['MDNS', 'true', { overlay: new Map([['provisioning.discovery', 'mdns']]) }],
  ['MDNS', 'false', {}],
  [
    'ENCRYPTED_SECRETS',
    'true',
    {
      notes: ['ENCRYPTED_SECRETS=true in --env-file is passed over: how secrets are encrypted is not public'],
    },
  ],
  [
    'ENCRYPTED_SECRETS',
    'false',
    { notes: ['passed over in --env-file: ENCRYPTED_SECRETS (onboardd has no use for it)'] },
  ],
  [
    'ENCRYPTED_SECRETS',
    '/secrets.enc',
    { notes: ['passed over in --env-file: ENCRYPTED_SECRETS (its meaning is not public)'] },
  ],
  ['AUTOMATIC_PROVISIONING', 'true', {}],
  [
    'AUTOMATIC_PROVISIONING',
    'false',
    {
      requestsCertificates: false,
      notes: ['AUTOMATIC_PROVISIONING=false in --env-file: no certificate is requested'],
    },
  ],
  ['PROVISIONING_URL', 'http://a', { overlay: new Map([['provisioning.url', 'http://a']]) }],
  ['DEVICE_TYPE', 'T', { overlay: new Map([['device.type', 'T']]) }],
  [
    'DEVICE_HOSTNAME_FILE',
    'h',
    { hostnameFile: { path: at('h'), setting: 'DEVICE_HOSTNAME_FILE in --env-file' } },
  ],
])('%s=%s', (name, value, effect) => {
  expect(read({ [name]: String(value) })).toEqual({ ...noAgent, ...effect });
});

test.each([
  'ttrue',
  'truely',
  '10',
  'xfalse',
  'falsey',
  '00',
])('TLS=%s is neither true nor false', (value) => {
  expect(read({ TLS: value }).problems).toEqual([`TLS in --env-file is "${value}"; allowed: true or false`]);
});

test('a long value is named by its first 60 characters', () => {
  expect(read({ TLS: 'x'.repeat(100) }).problems[0]).toContain(`"${'x'.repeat(60)}"`);
});

test.each([null, undefined, '', ' '])('a YAML key without a value, %j, means nothing', (value) => {
  expect(readYaml({ Device: { Type: value }, NatsEndpointFile: value })).toEqual(noAgent);
});

test('an empty section means nothing, one that is not a mapping is a mistake', () => {
  expect(readYaml({ Device: null })).toEqual(noAgent);
  expect(readYaml({ Device: 'x' })).toEqual({
    ...noAgent,
    problems: ['Device in --agent-config is not a mapping; allowed: a mapping of keys'],
  });
});

test('of two sources the later one wins, name by name, and neither hides what the other says', () => {
  const first = read({
    ...{ TLS: 'true', DEVICE_ALIAS: 'a', AUTOMATIC_PROVISIONING: 'false', DEVICE_HOSTNAME_FILE: 'h' },
    ...{ SERVICE_IDENTITY_KEY_FILE: 'k1', SERVICE_NATS_URL_FILE: 'n', MDNS: 'maybe' },
  });
  const second = readYaml({ TLS: false, Identity: { KeyFile: 'k2' }, MDNS: 'perhaps', Color: 'red' });
  const merged = mergedAgents(first, second);
  expect(merged.overlay).toEqual(
    new Map<string, unknown>([
      ['nats.tls', 'optional'],
      ['device.alias', 'a'],
      ['exports', { key: at('k2'), natsUrl: at('n') }],
    ]),
  );
  expect(merged.files).toEqual({ ...noFiles, key: at('k2'), natsUrl: at('n') });
  expect(merged.hostnameFile?.path).toBe(at('h'));
  expect(merged.requestsCertificates).toBe(false);
  expect(merged.notes).toEqual([...first.notes, ...second.notes]);
  expect(merged.problems).toEqual([...first.problems, ...second.problems]);
  expect(merged.notes.length).toBe(2);
  expect(merged.problems.length).toBe(2);
});

test('two sources without exports have none, and one of them may forbid requests', () => {
  expect(mergedAgents(noAgent, noAgent)).toEqual(noAgent);
  const forbidding = read({ AUTOMATIC_PROVISIONING: 'false' });
  expect(mergedAgents(noAgent, forbidding).requestsCertificates).toBe(false);
  const named = readYaml({ Device: { HostnameFile: 'other' } });
  expect(mergedAgents(noAgent, named).hostnameFile).toEqual({
    path: at('other'),
    setting: 'Device.HostnameFile in --agent-config',
  });
  expect(mergedAgents(read({ DEVICE_HOSTNAME_FILE: 'h' }), named).hostnameFile?.path).toBe(at('other'));
});
