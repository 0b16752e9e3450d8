import { expect, test } from 'vitest';
import { fromAgentVariables, fromAgentYaml, mergedAgents } from '../../../src/config/agentSettings.ts';

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
