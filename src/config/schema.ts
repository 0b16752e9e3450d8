import { parseNatsAddresses } from './natsAddress.ts';

/** The effective configuration, after precedence, defaults and checks. Times in milliseconds. */
export interface Config {
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
    readonly keyType: KeyType;
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
  };
  readonly retry: {
    readonly initialMs: number;
    readonly maxMs: number;
    readonly factor: number;
    readonly failedAfterMs: number;
  };
  /** The fraction of a certificate's life at which it is renewed, or the range that it is drawn from. */
  readonly renewal: { readonly at: number | readonly [number, number] };
  /** Result field or identity item → path of the file that it is written to. */
  readonly exports: Readonly<Record<string, string>>;
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
}

export type KeyType = 'rsa-2048' | 'rsa-3072' | 'rsa-4096' | 'ec-p256' | 'ec-p384';
export type LogLevel = 'error' | 'warn' | 'info' | 'debug';
export type LogFormat = 'journal' | 'pretty' | 'json';

/** What the defaults depend on; read by the composition root. */
export interface HostDefaults {
  readonly stateDir: string;
  readonly architecture: string;
  readonly buildVersion: string | null;
  readonly logFormat: LogFormat;
  /** Credential `provisioning.token`, `provisioning.ca` of the service manager; null where there is none */
  readonly tokenFile: string | null;
  readonly caFile: string | null;
}

/** One key of the configuration: its check, and the words for documentation and errors. */
export interface Setting {
  readonly meaning: string;
  /** In words; `null` where the default is told by the meaning. */
  readonly shownDefault: string;
  /** In words, for errors and the documentation. */
  readonly allowed: string;
  /** JSON Schema of the value. */
  readonly schema: Readonly<Record<string, unknown>>;
  readonly value: (host: HostDefaults) => unknown;
  readonly required?: true;
  /** @returns whether the value is allowed */
  readonly check: (value: unknown) => boolean;
}

type Words = {
  meaning: string;
  shownDefault?: string;
  required?: true;
  value?: (host: HostDefaults) => unknown;
};

const longestTimer = 2 ** 31 - 1;

function text(words: Words, pattern: RegExp, allowed: string): Setting {
  return {
    shownDefault: 'none',
    value: () => null,
    ...words,
    allowed,
    schema: { type: 'string', pattern: pattern.source },
    check: (value) => typeof value === 'string' && pattern.test(value),
  };
}

function oneOf(words: Words, choices: readonly string[], preset: string): Setting {
  return {
    shownDefault: `\`${preset}\``,
    value: () => preset,
    ...words,
    allowed: `one of ${choices.join(', ')}`,
    schema: { enum: choices },
    check: (value) => typeof value === 'string' && choices.includes(value),
  };
}

function number(
  words: Words,
  kind: 'integer' | 'number',
  least: number,
  most: number,
  preset: number,
): Setting {
  return {
    shownDefault: `${preset}`,
    value: () => preset,
    ...words,
    allowed: `${kind === 'integer' ? 'a whole number' : 'a number'} from ${least} to ${most}`,
    schema: { type: kind, minimum: least, maximum: most },
    check: (value) =>
      typeof value === 'number' &&
      (kind === 'integer' ? Number.isInteger(value) : Number.isFinite(value)) &&
      value >= least &&
      value <= most,
  };
}

const oneLine = /^[^\p{Cc}]{1,256}$/u;
const path = /^[^\0]{1,4096}$/;
/** `sha256 Fingerprint=AB:CD…`, with or without the words and the colons, in any case. */
const fingerprint =
  '\\s*([Ss][Hh][Aa]-?256 [Ff]ingerprint\\s*=)?\\s*[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}\\s*';
const fingerprints = new RegExp(`^${fingerprint}(,${fingerprint})*$`);
const line = (words: Words) => text(words, oneLine, 'one line of 1 to 256 characters');
const file = (words: Words) => text(words, path, 'a path');

/** The one schema: from it come the checks, the JSON schema for editors and the table of the README. */
export const settings = {
  stateDir: {
    ...file({ meaning: 'The state directory', shownDefault: '`$STATE_DIRECTORY`, else `/var/lib/onboardd`' }),
    value: (host: HostDefaults) => host.stateDir,
  },
  'provisioning.url': {
    ...text(
      { meaning: 'Base URL of the provisioning server', required: true, shownDefault: 'none, required' },
      /^https?:\/\//i,
      'an http: or https: URL without query or fragment',
    ),
    check: isBaseUrl,
  },
  'provisioning.caFile': file({
    meaning: 'PEM file that alone is trusted for `https:`',
    shownDefault: 'the credential `provisioning.ca`, else system roots',
    value: (host) => host.caFile,
  }),
  'provisioning.fleetCaFile': file({
    meaning: 'PEM file with the CA that the answer must bring; of several certificates any one',
  }),
  'provisioning.fleetCaFingerprint': text(
    { meaning: 'The same by its fingerprint, beside `fleetCaFile` or alone; separated by commas any one' },
    fingerprints,
    'SHA-256 as `openssl x509 -noout -fingerprint -sha256` prints it, or a comma-separated list',
  ),
  'provisioning.tokenFile': file({
    meaning: 'File with a bearer token to send',
    shownDefault: 'the credential `provisioning.token`, else none',
    value: (host) => host.tokenFile,
  }),
  'provisioning.swarmId': line({ meaning: 'Sent as `swarm_id`' }),
  'provisioning.timeoutMs': number({ meaning: 'Limit of one attempt' }, 'integer', 1, longestTimer, 15000),
  'identity.deviceId': text(
    { meaning: 'The device’s id', shownDefault: 'a new UUID without dashes' },
    /^[A-Za-z0-9_-]{1,64}$/,
    '1 to 64 of A-Z a-z 0-9 _ -',
  ),
  'identity.commonName': line({
    meaning: 'Template of the CSR’s common name; `{id}` is filled in',
    shownDefault: '`/Finland~Solita/fleet/{id}/registration_agent`',
    value: () => '/Finland~Solita/fleet/{id}/registration_agent',
  }),
  'identity.keyType': oneOf(
    { meaning: 'Type of the key pair, when it is made' },
    ['rsa-2048', 'rsa-3072', 'rsa-4096', 'ec-p256', 'ec-p384'],
    'rsa-2048',
  ),
  'device.type': line({ meaning: '`deviceType`', required: true, shownDefault: 'none, required' }),
  'device.architecture': line({
    meaning: '`architecture`, as Go names it (`arm64`, `amd64`, …)',
    shownDefault: 'this machine’s',
    value: (host) => host.architecture,
  }),
  'device.buildVersion': line({
    meaning: '`buildVersion`',
    shownDefault: 'from `/etc/os-release`: `IMAGE_VERSION`, else `BUILD_ID`, else `VERSION_ID`',
    value: (host) => host.buildVersion,
  }),
  'device.currentOwner': line({ meaning: '`currentOwner`; left out by default' }),
  'device.alias': line({ meaning: '`alias` to ask for; `{id}` and `{hostname}` are filled in' }),
  'device.tailscaleID': line({ meaning: '`tailscaleID`; `{id}` and `{hostname}` are filled in' }),
  'nats.url': {
    ...line({
      meaning: 'NATS address, in place of the one that provisioning answers',
      shownDefault: 'what provisioning answered',
    }),
    allowed: 'nats://host:port, tls://host:port, host:port or host, one or a comma-separated list',
    check: isNatsUrl,
  },
  'nats.tls': oneOf(
    { meaning: '`optional` accepts a server without TLS: for a closed test network alone' },
    ['required', 'optional'],
    'required',
  ),
  'registration.api': oneOf(
    { meaning: '`request` for the discontinued API' },
    ['jetstream', 'request'],
    'jetstream',
  ),
  'registration.resultStream': text(
    { meaning: 'Name of the stream with the results', shownDefault: 'found by subject' },
    /^[^\s.*>/\\\p{Cc}]{1,255}$/u,
    'a stream name: no white space, dots, wildcards or slashes',
  ),
  'registration.timeoutMs': number(
    { meaning: 'From publish to result, one attempt' },
    'integer',
    1,
    longestTimer,
    30000,
  ),
  'retry.initialMs': number(
    { meaning: 'Ceiling of the first wait; full jitter below it' },
    'integer',
    1,
    longestTimer,
    1000,
  ),
  'retry.maxMs': number({ meaning: 'Highest ceiling of a wait' }, 'integer', 1, longestTimer, 300000),
  'retry.factor': number({ meaning: 'Growth of the ceiling from attempt to attempt' }, 'number', 1, 100, 2),
  'retry.failedAfterMs': number(
    { meaning: 'How long `failed` rests before the next try; 0: never by itself' },
    'integer',
    0,
    longestTimer,
    900000,
  ),
  'renewal.at': {
    ...number(
      { meaning: 'Fraction of the certificate’s life at which it is renewed' },
      'number',
      0.01,
      0.99,
      0.8,
    ),
    shownDefault: '0.7 to 0.9, rolled once per certificate',
    value: () => [0.7, 0.9],
  },
  exports: {
    meaning: 'Result field or identity item → path of a file to write it to',
    shownDefault: 'none',
    allowed: 'an object of paths',
    schema: { type: 'object', additionalProperties: { type: 'string', minLength: 1 } },
    value: () => ({}),
    check: (value) =>
      isRecord(value) && Object.values(value).every((entry) => typeof entry === 'string' && path.test(entry)),
  },
  'log.level': oneOf({ meaning: 'Least level that is logged' }, ['error', 'warn', 'info', 'debug'], 'info'),
  'log.format': oneOf(
    {
      meaning: 'Format of the log',
      shownDefault: '`journal` under systemd, else `pretty` on a terminal, else `json`',
      value: (host) => host.logFormat,
    },
    ['journal', 'pretty', 'json'],
    'json',
  ),
} as const satisfies Record<string, Setting>;

export type SettingKey = keyof typeof settings;

export const settingKeys = Object.keys(settings) as SettingKey[];

/** The environment name of a key: `a.bC` is `ONBOARDD_A_B_C`. */
export function environmentName(key: string): string {
  return `ONBOARDD_${key
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll('.', '_')
    .toUpperCase()}`;
}

/** JSON Schema (draft 2020-12) of the configuration file, for editors. */
export function jsonSchema(): Record<string, unknown> {
  const root: Record<string, unknown> = {};
  const sections = new Map<string, Record<string, unknown>>();
  for (const key of settingKeys) {
    const { schema, meaning }: Setting = settings[key];
    const described = { ...schema, description: meaning };
    const [section = '', name] = key.split('.');
    if (name === undefined) {
      root[section] = described;
    } else {
      sections.set(section, { ...sections.get(section), [name]: described });
    }
  }
  for (const [section, properties] of sections) {
    root[section] = { type: 'object', additionalProperties: false, properties };
  }
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'onboardd configuration',
    type: 'object',
    additionalProperties: false,
    properties: { $schema: { type: 'string' }, ...root },
  };
}

function isBaseUrl(value: unknown): boolean {
  if (typeof value !== 'string' || !URL.canParse(value)) return false;
  const url = new URL(value);
  return /^https?:$/.test(url.protocol) && url.hostname !== '' && url.search === '' && url.hash === '';
}

function isNatsUrl(value: unknown): boolean {
  if (typeof value !== 'string') return false;
  try {
    return parseNatsAddresses(value).length > 0;
  } catch {
    return false;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
