import { isAbsolute, join } from 'node:path';
import { isRecord } from '../text/json.ts';
import type { SettingKey } from './schema.ts';

/** Where an earlier agent keeps its identity: absolute paths, null if its settings do not name the file. */
export interface AgentFiles {
  /** The id as text */
  readonly deviceId: string | null;
  /** `device_id.json` of generations 2 and 3: the id as a string, or an object with one of `id`, `deviceId`, `device_id` */
  readonly deviceIdJson: string | null;
  readonly key: string | null;
  readonly certificate: string | null;
  readonly caCertificate: string | null;
  readonly natsUrl: string | null;
  /** `identity.txt` of generation 1, whose content is not public: never read for what it says, and left as it stands */
  readonly identity: string | null;
}

/** A file that holds the host name. */
export interface HostnameFile {
  readonly path: string;
  /** For messages: `DEVICE_HOSTNAME_FILE in --env-file` */
  readonly setting: string;
}

/** What the settings of one of the fleet's Go agents mean to onboardd (protocol.md, part 4). */
export interface AgentSettings {
  readonly overlay: ReadonlyMap<SettingKey, unknown>;
  readonly hostnameFile: HostnameFile | null;
  readonly files: AgentFiles;
  /** False: no certificate may be requested (`AUTOMATIC_PROVISIONING=false`). */
  readonly requestsCertificates: boolean;
  /** What is not used, and why, one line each */
  readonly notes: readonly string[];
  /** What cannot be meant, one line each */
  readonly problems: readonly string[];
}

const noFiles: AgentFiles = {
  deviceId: null,
  deviceIdJson: null,
  key: null,
  certificate: null,
  caCertificate: null,
  natsUrl: null,
  identity: null,
};

export const noAgent: AgentSettings = {
  overlay: new Map(),
  hostnameFile: null,
  files: noFiles,
  requestsCertificates: true,
  notes: [],
  problems: [],
};

/** What a setting is: a key of onboardd's, a switch, a file that is exported or read, or one that is passed over. */
type Meaning =
  | { readonly key: SettingKey }
  | { readonly flag: 'tls' | 'mdns' | 'automatic' | 'encrypted' }
  | { readonly exported: string; readonly adopted?: keyof AgentFiles }
  | { readonly adopted: keyof AgentFiles }
  | { readonly hostname: true }
  | { readonly passedOver: string };

const notPublic = 'its meaning is not public';
const notSent = 'the fleet asks for no such thing';
const elsewhere = 'onboardd has no use for it';
const identityJson = 'is read, and never written: its shape is not public';

const identity = {
  key: { exported: 'key', adopted: 'key' },
  certificate: { exported: 'certificate', adopted: 'certificate' },
  ca: { exported: 'caCertificate', adopted: 'caCertificate' },
  natsUrl: { exported: 'natsUrl', adopted: 'natsUrl' },
} as const;

const variables: Readonly<Record<string, Meaning>> = {
  AUTOMATIC_PROVISIONING: { flag: 'automatic' },
  TLS: { flag: 'tls' },
  MDNS: { flag: 'mdns' },
  PROVISIONING_URL: { key: 'provisioning.url' },
  DEVICE_ALIAS: { key: 'device.alias' },
  DEVICE_TYPE: { key: 'device.type' },
  DEVICE_HOSTNAME_FILE: { hostname: true },
  IP_ADDRESS_FILE: { passedOver: notSent },
  DEVICE_IP_ADDRESS_FILE: { passedOver: notSent },
  DEVICE_CONFIGURATION_FILE: { exported: 'configuration' },
  // Generation 1
  SERVICE_IDENTITY_KEY_FILE: identity.key,
  SERVICE_IDENTITY_CERTIFICATE_FILE: identity.certificate,
  SERVICE_IDENTITY_CA_FILE: identity.ca,
  SERVICE_NATS_URL_FILE: identity.natsUrl,
  DEVICE_ID_FILE: { exported: 'deviceId', adopted: 'deviceId' },
  DEVICE_IDENTITY_FILE: { exported: 'identity', adopted: 'identity' },
  DEVICE_AUTH_TOKEN_FILE: { exported: 'token' },
  UTM_CLIENT_SECRET_FILE: { exported: 'utmClientSecret' },
  RABBIT_MQ_SECRET_FILE: { exported: 'rabbitMqSecret' },
  FLEET_NATS_LEAF_CONFIG_FILE: { passedOver: notPublic },
  SERVICE_FLEET_LEAF_CERTIFICATE_FILE: { passedOver: notPublic },
  SERVICE_FLEET_LEAF_CA_FILE: { passedOver: notPublic },
  SERVICE_SWARM_KEY_FILE: { passedOver: notPublic },
  SERVICE_SWARM_CA_FILE: { passedOver: notPublic },
  POST_INSTALLATION_DIRECTORY: { passedOver: elsewhere },
  NETWORK_INTERFACE: { passedOver: elsewhere },
  ENCRYPTED_SECRETS: { flag: 'encrypted' },
  // Generation 2
  IDENTITY_FILE: { adopted: 'deviceIdJson' },
  IDENTITY_KEY_FILE: identity.key,
  IDENTITY_CERT_FILE: identity.certificate,
  IDENTITY_CA_CERT_FILE: identity.ca,
  NATS_ENDPOINT_FILE: identity.natsUrl,
  SECRETS_AUTH_TOKEN_FILE: { exported: 'token' },
  SECRETS_UTM_SECRET_FILE: { exported: 'utmClientSecret' },
  IDENTITY_SERIAL_NUMBER_FILE: { passedOver: notPublic },
  IDENTITY_CERTIFICATE_REQUEST_FILE: { passedOver: elsewhere },
  DEVICE_NATS_LEAF_CONFIGURATION_FILE: { passedOver: notPublic },
  DEVICE_CONFIGURATION_TEMPLATE_FILE: { passedOver: notPublic },
};
/** Families of generation 2: two further certificate requests whose wire is not public. */
const variableFamilies = /^IDENTITY_(FLEET_CLUSTER|FLEET_LEAF|SWARM)_/;

const yamlKeys: Readonly<Record<string, Meaning>> = {
  TLS: { flag: 'tls' },
  MDNS: { flag: 'mdns' },
  NatsEndpointFile: identity.natsUrl,
  'Device.Type': { key: 'device.type' },
  'Device.Alias': { key: 'device.alias' },
  'Device.Architecture': { key: 'device.architecture' },
  'Device.Topology': { passedOver: notPublic },
  'Device.IpAddressFile': { passedOver: notSent },
  'Device.HostnameFile': { hostname: true },
  'Device.ConfigurationFile': { exported: 'configuration' },
  'Device.ConfigurationTemplateFile': { passedOver: notPublic },
  'Device.NatsLeafConfigurationFile': { passedOver: notPublic },
  'Device.HardwareConfigurationFile': { passedOver: notPublic },
  'Identity.CaCertFile': identity.ca,
  'Identity.CertFile': identity.certificate,
  'Identity.KeyFile': identity.key,
  'Identity.File': { adopted: 'deviceIdJson' },
  'Identity.SerialNumberFile': { passedOver: notPublic },
  'Identity.CertificateRequestFile': { passedOver: elsewhere },
  'Secrets.AuthTokenFile': { exported: 'token' },
  'Secrets.UtmSecretFile': { exported: 'utmClientSecret' },
};
const yamlFamilies = /^Identity\.(FleetCluster|FleetLeaf|SwarmCa|SwarmRootCaFile)/;

/**
 * The environment of generations 1 and 2. Variables of other programs are passed over silently, those of the agents that
 * mean nothing to onboardd with a note.
 *
 * @param folder relative paths lie here
 */
export function fromAgentVariables(
  values: ReadonlyMap<string, string>,
  folder: string,
  source: string,
): AgentSettings {
  const found = [...values].flatMap(([name, value]) => {
    const meaning = meaningIn(variables, variableFamilies, name);
    return meaning === null ? [] : [{ name, value, meaning }];
  });
  return settingsOf(found, folder, source);
}

/**
 * The YAML document of generation 3. Keys that nobody knows are named in a note.
 *
 * @param folder relative paths lie here
 */
export function fromAgentYaml(document: unknown, folder: string, source: string): AgentSettings {
  const found: Found[] = [];
  const notes: string[] = [];
  const problems: string[] = [];
  const take = (name: string, value: unknown) => {
    const meaning = meaningIn(yamlKeys, yamlFamilies, name);
    if (meaning === null) notes.push(`${name} in ${source} is unknown, and passed over`);
    else if (isRecord(value) || Array.isArray(value))
      problems.push(`${name} in ${source} is not a single value; allowed: text, true or false`);
    else if (value !== null && value !== undefined && String(value).trim() !== '')
      found.push({ name, value: String(value).trim(), meaning });
  };
  for (const [section, value] of Object.entries(isRecord(document) ? document : {})) {
    const isSection = ['Device', 'Identity', 'Secrets'].includes(section);
    if (isSection && isRecord(value))
      for (const [name, entry] of Object.entries(value)) take(`${section}.${name}`, entry);
    else if (isSection && value !== null)
      problems.push(`${section} in ${source} is not a mapping; allowed: a mapping of keys`);
    else if (!isSection) take(section, value);
  }
  const settings = settingsOf(found, folder, source, yamlBooleanOf);
  return {
    ...settings,
    notes: [...settings.notes, ...notes],
    problems: [...settings.problems, ...problems],
  };
}

/** Both kinds of settings at once: the later ones win, name by name. */
export function mergedAgents(first: AgentSettings, second: AgentSettings): AgentSettings {
  const overlay = new Map([...first.overlay, ...second.overlay]);
  const exports = [first, second].map((one) => one.overlay.get('exports')).filter(isRecord);
  if (exports.length > 0) overlay.set('exports', Object.assign({}, ...exports));
  const named = Object.entries(second.files).filter(([, path]) => path !== null);
  return {
    overlay,
    hostnameFile: second.hostnameFile ?? first.hostnameFile,
    files: { ...first.files, ...Object.fromEntries(named) },
    requestsCertificates: first.requestsCertificates && second.requestsCertificates,
    notes: [...first.notes, ...second.notes],
    problems: [...first.problems, ...second.problems],
  };
}

interface Found {
  readonly name: string;
  readonly value: string;
  readonly meaning: Meaning;
}

function meaningIn(known: Readonly<Record<string, Meaning>>, families: RegExp, name: string): Meaning | null {
  if (Object.hasOwn(known, name)) return known[name] ?? null;
  return families.test(name) ? { passedOver: notPublic } : null;
}

function settingsOf(
  found: readonly Found[],
  folder: string,
  source: string,
  readBoolean = booleanOf,
): AgentSettings {
  const overlay = new Map<SettingKey, unknown>();
  const exports: Record<string, string> = {};
  const files: Record<keyof AgentFiles, string | null> = { ...noFiles };
  const settings = { hostnameFile: null as HostnameFile | null, requestsCertificates: true };
  const passedOver: string[] = [];
  const notes: string[] = [];
  const problems: string[] = [];
  const place = (path: string) => (isAbsolute(path) ? path : join(folder, path));
  for (const { name, value, meaning } of found) {
    if ('key' in meaning) overlay.set(meaning.key, value);
    if ('exported' in meaning) exports[meaning.exported] = place(value);
    if ('adopted' in meaning && meaning.adopted !== undefined) files[meaning.adopted] = place(value);
    if ('adopted' in meaning && meaning.adopted === 'deviceIdJson')
      notes.push(`${name} in ${source} ${identityJson}`);
    if ('hostname' in meaning)
      settings.hostnameFile = { path: place(value), setting: `${name} in ${source}` };
    if ('passedOver' in meaning) passedOver.push(`${name} (${meaning.passedOver})`);
    if (!('flag' in meaning)) continue;
    const isOn = readBoolean(value);
    if (meaning.flag === 'encrypted') {
      if (isOn !== true) passedOver.push(`${name} (${isOn === false ? elsewhere : notPublic})`);
      else notes.push(`${name}=true in ${source} is passed over: how secrets are encrypted is not public`);
    } else if (isOn === null)
      problems.push(`${name} in ${source} is "${value.slice(0, 60)}"; allowed: true or false`);
    else if (meaning.flag === 'tls') overlay.set('nats.tls', isOn ? 'required' : 'optional');
    else if (meaning.flag === 'automatic') {
      settings.requestsCertificates = isOn;
      if (!isOn) notes.push(`${name}=false in ${source}: no certificate is requested`);
    } else if (meaning.flag === 'mdns' && isOn) overlay.set('provisioning.discovery', 'mdns');
  }
  if (Object.keys(exports).length > 0) overlay.set('exports', exports);
  if (passedOver.length > 0) notes.push(`passed over in ${source}: ${passedOver.join(', ')}`);
  return { overlay, ...settings, files, notes, problems };
}

/** As Go reads them (strconv.ParseBool), in any case. @returns null: neither */
function booleanOf(text: string): boolean | null {
  if (/^(1|t|true)$/i.test(text)) return true;
  return /^(0|f|false)$/i.test(text) ? false : null;
}

/** As Go's YAML reads them into a switch (yaml.v3): the words of YAML 1.1, too. @returns null: neither */
function yamlBooleanOf(text: string): boolean | null {
  if (/^(y|yes|on)$/i.test(text)) return true;
  return /^(n|no|off)$/i.test(text) ? false : booleanOf(text);
}
