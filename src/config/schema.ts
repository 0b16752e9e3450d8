import * as v from 'valibot';
import { isRecord } from '../text/json.ts';
import type { ExportSetting } from './exports.ts';
import { parseNatsAddresses } from './natsAddress.ts';
import { splitUrls } from './provisioningUrls.ts';
import { parseProxy } from './proxy.ts';
import { type GeneratedKeyType, keyTypes } from './tokenUri.ts';

/** Facts of the host on which defaults depend. */
export interface HostDefaults {
  readonly stateDir: string;
  readonly architecture: string;
  readonly buildVersion: string | null;
  readonly logFormat: LogFormat;
  /** Credential `provisioning.token`, `provisioning.ca` of the service manager; null if there is none */
  readonly tokenFile: string | null;
  readonly caFile: string | null;
}

/** The values that a key accepts. */
interface Kind<Value> {
  readonly schema: v.GenericSchema<unknown, Value>;
  /** In words, for errors and the documentation. */
  readonly allowed: string;
}

/** One key of the configuration: the schema of its value, its default, and texts for documentation and errors. */
export interface Setting<Value = unknown, Default = unknown> extends Kind<Value> {
  readonly meaning: string;
  /** The default in words */
  readonly shownDefault: string;
  /** Null for a key that is required */
  readonly defaultOf: ((host: HostDefaults) => Default) | null;
}

/** A key that must be given. */
function required<Value>(kind: Kind<Value>, meaning: string): Setting<Value, never> {
  return { ...kind, meaning, shownDefault: 'none, required', defaultOf: null };
}

/** A key that is null if it is not set. */
function optional<Value>(kind: Kind<Value>, meaning: string, shownDefault = 'none'): Setting<Value, null> {
  return { ...kind, meaning, shownDefault, defaultOf: () => null };
}

/** A key with a fixed default. */
function withDefault<Value extends string | number | boolean>(
  kind: Kind<Value>,
  meaning: string,
  value: Value,
): Setting<Value, Value> {
  const shownDefault = typeof value === 'string' ? `\`${value}\`` : `${value}`;
  return { ...kind, meaning, shownDefault, defaultOf: () => value };
}

/** A key whose default depends on the host, or has another type than its values. */
function withDefaultOf<Value, Default>(
  kind: Kind<Value>,
  meaning: string,
  shownDefault: string,
  defaultOf: (host: HostDefaults) => Default,
): Setting<Value, Default> {
  return { ...kind, meaning, shownDefault, defaultOf };
}

const longestTimer = 2 ** 31 - 1;

function text(pattern: RegExp, allowed: string): Kind<string> {
  return { schema: v.pipe(v.string(), v.regex(pattern)), allowed };
}

function oneOf<const Choice extends string>(choices: readonly Choice[]): Kind<Choice> {
  return { schema: v.picklist(choices), allowed: `one of ${choices.join(', ')}` };
}

function number(least: number, most: number): Kind<number> {
  return {
    schema: v.pipe(v.number(), v.minValue(least), v.maxValue(most)),
    allowed: `a number from ${least} to ${most}`,
  };
}

function wholeNumber(least: number, most: number): Kind<number> {
  return {
    schema: v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most)),
    allowed: `a whole number from ${least} to ${most}`,
  };
}

const logFormats = ['journal', 'pretty', 'json'] as const;
const line = text(/^[^\p{Cc}]{1,256}$/u, 'one line of 1 to 256 characters');
const path = text(/^[^\0]{1,4096}$/, 'a path');
const filled = '`{id}`, `{hostname}`, `{serial}` and `{machineId}` are filled in';
const milliseconds = wholeNumber(1, longestTimer);
const flag: Kind<boolean> = { schema: v.boolean(), allowed: 'true or false' };
/** `sha256 Fingerprint=AB:CD…`, with or without the words and the colons, in any case. */
const fingerprint =
  '\\s*([Ss][Hh][Aa]-?256 [Ff]ingerprint\\s*=)?\\s*[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}\\s*';
const fingerprints = text(
  new RegExp(`^${fingerprint}(,${fingerprint})*$`),
  'SHA-256 as `openssl x509 -noout -fingerprint -sha256` prints it, or a comma-separated list',
);
// The pattern is for editors: the check decides.
const baseUrl = v.pipe(
  v.string(),
  v.check((value) => splitUrls(value).every(isBaseUrl)),
  v.metadata({ pattern: '^\\s*[Hh][Tt][Tt][Pp][Ss]?:' }),
);
const baseUrls: Kind<string | readonly string[]> = {
  schema: v.union([baseUrl, v.pipe(v.array(baseUrl), v.minLength(1))]),
  allowed: 'an http: or https: URL without query or fragment, or a list of them',
};
const keyType: Kind<GeneratedKeyType | `pkcs11:${string}`> = {
  schema: v.union([
    v.picklist(keyTypes),
    v.pipe(v.string(), v.regex(/^pkcs11:./)) as v.GenericSchema<string, `pkcs11:${string}`>,
  ]),
  allowed: `one of ${keyTypes.join(', ')}, or pkcs11:token=…?module-path=… (RFC 7512)`,
};
const proxy: Kind<string> = {
  schema: v.pipe(
    v.string(),
    v.check((value) => value.startsWith('http://') && parseProxy(value) !== null),
  ),
  allowed: 'http://host:port, with or without a login in front of the host',
};
const proxyOrOff: Kind<string> = {
  schema: v.union([v.picklist(['off']), proxy.schema as v.GenericSchema<string>]),
  allowed: `off, or ${proxy.allowed}`,
};
const natsUrl: Kind<string> = {
  schema: v.pipe(v.string(), v.check(isNatsUrl)),
  allowed: 'nats://host:port, tls://host:port, host:port or host, one or a comma-separated list',
};
const exportSetting = v.union([
  path.schema,
  v.strictObject({
    path: path.schema,
    mode: v.optional(v.pipe(v.string(), v.regex(/^0?[0-7][0-7][0145]$/))),
    group: v.optional(v.pipe(v.string(), v.regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$/))),
  }),
]);
/** Names that valibot ignores in a record are rejected. */
const paths: Kind<Readonly<Record<string, ExportSetting>>> = {
  schema: v.pipe(
    v.custom<Readonly<Record<string, unknown>>>(
      (value) =>
        isRecord(value) &&
        !['__proto__', 'prototype', 'constructor'].some((name) => Object.hasOwn(value, name)),
    ),
    v.record(v.string(), exportSetting),
  ),
  allowed: 'an object of paths, or of {"path", "mode": "0640", "group"}; not writable by others',
};

/**
 * The one schema of the configuration. The type `Config`, the validation, the environment names, the JSON schema for
 * editors, the table of the README and the manual page are derived from it.
 */
export const settings = {
  stateDir: withDefaultOf(
    path,
    'The state directory',
    '`$STATE_DIRECTORY`, else `/var/lib/onboardd`',
    (host) => host.stateDir,
  ),
  'provisioning.url': optional(
    baseUrls,
    'Base URL of the provisioning server, or a list of them, tried in turn; as text, a comma or space separates them',
    'none, required without `provisioning.discovery`',
  ),
  'provisioning.protocol': withDefault(
    oneOf(['fleet', 'est']),
    '`est` is RFC 7030 (`simpleenroll`, `simplereenroll`), over `https:` and with `nats.url`',
    'fleet',
  ),
  'provisioning.discovery': withDefault(
    oneOf(['off', 'mdns']),
    '`mdns` looks for `_provisioning._tcp` where no URL is configured; only with `fleetCaFile` or `fleetCaFingerprint`',
    'off',
  ),
  'provisioning.path': withDefault(
    text(/^\/[^\s?#\p{Cc}]{0,1000}$/u, 'a path that begins with /, without query or fragment'),
    'Path of the request, behind the base URL',
    '/api/devices/provision',
  ),
  'provisioning.caFile': withDefaultOf(
    path,
    'PEM file with the only CAs that are trusted for `https:`',
    'the credential `provisioning.ca`, else the CA store of the system',
    (host) => host.caFile,
  ),
  'provisioning.clientCertFile': optional(
    path,
    'PEM file with a claim certificate and its chain, sent to an `https:` server',
  ),
  'provisioning.clientKeyFile': optional(path, 'PEM file with the key of `clientCertFile`'),
  'provisioning.proxy': optional(
    proxyOrOff,
    'Proxy of the requests to the provisioning server; `off`: none, whatever the environment says',
    '`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`',
  ),
  'provisioning.fleetCaFile': optional(path, 'PEM file with the CAs of which the answer must contain one'),
  'provisioning.fleetCaFingerprint': optional(
    fingerprints,
    'The same by fingerprints, in addition to `fleetCaFile` or instead of it',
  ),
  'provisioning.tokenFile': withDefaultOf(
    path,
    'File with a bearer token to send',
    'the credential `provisioning.token`, else none',
    (host) => host.tokenFile,
  ),
  'provisioning.swarmId': optional(line, 'Sent as `swarm_id`'),
  'provisioning.timeoutMs': withDefault(milliseconds, 'Time limit of one attempt, ms', 15000),
  'identity.deviceId': optional(
    text(/^[A-Za-z0-9_-]{1,64}$/, '1 to 64 of A-Z a-z 0-9 _ -'),
    "The device's id",
    'a new UUID without dashes',
  ),
  'identity.commonName': withDefault(
    line,
    "Template of the CSR's common name; `{id}` is filled in",
    '/Finland~Solita/fleet/{id}/registration_agent',
  ),
  'identity.keyType': withDefault(
    keyType,
    'Type of the key pair that is generated; or a PKCS#11 URI: it is generated in that token (docs/hardware-keys.md)',
    'rsa-2048',
  ),
  'identity.seal': withDefault(
    oneOf(['off', 'host', 'tpm2', 'host+tpm2']),
    'What `systemd-creds` seals a key file with (docs/hardware-keys.md)',
    'off',
  ),
  'device.type': required(line, '`deviceType`'),
  'device.architecture': withDefaultOf(
    line,
    '`architecture`, as Go names it (`arm64`, `amd64`, …)',
    "this machine's",
    (host) => host.architecture,
  ),
  'device.buildVersion': withDefaultOf(
    line,
    '`buildVersion`',
    'from `/etc/os-release`: `IMAGE_VERSION`, else `BUILD_ID`, else `VERSION_ID`',
    (host) => host.buildVersion,
  ),
  'device.currentOwner': optional(line, `\`currentOwner\`; left out by default; ${filled}`),
  'device.alias': optional(line, `Requested \`alias\`; ${filled}`),
  'device.tailscaleID': optional(
    line,
    `\`tailscaleID\`, or \`auto\`: what Tailscale on this device says; ${filled}`,
  ),
  'nats.url': optional(
    natsUrl,
    'NATS address, instead of the one that provisioning answers',
    'from the answer of provisioning',
  ),
  'nats.proxy': optional(
    proxy,
    'Proxy through which NATS is reached (CONNECT); those of the environment are not used',
  ),
  'nats.tls': withDefault(
    oneOf(['required', 'optional']),
    '`optional` accepts a server without TLS: only for a closed test network',
    'required',
  ),
  'registration.api': withDefault(
    oneOf(['jetstream', 'request']),
    '`request` for the discontinued API',
    'jetstream',
  ),
  'registration.caCertificate': withDefault(
    oneOf(['answer', 'chain']),
    'Which CA the request carries: `answer` is `caCertificate`, `chain` the last certificate of `certificate`',
    'answer',
  ),
  'registration.resultStream': optional(
    text(/^[^\s.*>/\\\p{Cc}]{1,255}$/u, 'a stream name: no white space, dots, wildcards or slashes'),
    'Name of the stream with the results',
    'found by subject',
  ),
  'registration.timeoutMs': withDefault(
    milliseconds,
    'Time limit from publish to result, one attempt, ms',
    30000,
  ),
  'registration.onChange': withDefault(
    flag,
    'Register again when alias, owner or build version changed in the configuration',
    false,
  ),
  'retry.initialMs': withDefault(
    milliseconds,
    'Upper limit of the first wait, ms; full jitter below it',
    1000,
  ),
  'retry.maxMs': withDefault(milliseconds, 'Upper limit of any wait, ms', 300000),
  'retry.factor': withDefault(number(1, 100), 'Factor by which the limit grows from attempt to attempt', 2),
  'retry.failedAfterMs': withDefault(
    wholeNumber(0, longestTimer),
    'How long the device waits in `failed` before it starts over, ms; 0: it never does by itself',
    900000,
  ),
  'renewal.at': withDefaultOf(
    number(0.01, 0.99),
    "Fraction of the certificate's life at which it is renewed",
    '0.7 to 0.9, chosen at random for each certificate',
    (): readonly [number, number] => [0.7, 0.9],
  ),
  'renewal.newKey': withDefault(flag, 'A new key with each renewal', false),
  'hooks.dir': withDefault(
    path,
    'Folder of executables that are run after `registered`, `renewed`, `failed` and `reset`',
    '/etc/onboardd/hooks.d',
  ),
  exports: withDefaultOf(
    paths,
    'Result field or identity item → path of a file to write it to',
    'none',
    (): Readonly<Record<string, ExportSetting>> => ({}),
  ),
  'metrics.textfile': optional(path, 'Prometheus textfile for node_exporter (docs/monitoring/README.md)'),
  'log.level': withDefault(oneOf(['error', 'warn', 'info', 'debug']), 'Lowest level that is logged', 'info'),
  'log.format': withDefaultOf(
    oneOf(logFormats),
    'Format of the log',
    '`journal` under systemd, else `pretty` on a terminal, else `json`',
    (host) => host.logFormat,
  ),
} as const satisfies Record<string, Setting>;

export type SettingKey = keyof typeof settings;

export const settingKeys = Object.keys(settings) as SettingKey[];

type ValueOf<Key extends SettingKey> =
  (typeof settings)[Key] extends Setting<infer Value, infer Default> ? Value | Default : never;
type Section = SettingKey extends infer Key ? (Key extends `${infer Name}.${string}` ? Name : Key) : never;

/** The effective configuration, after precedence, defaults and checks: `a.b` is `config.a.b`. Times in milliseconds. */
export type Config = {
  readonly [Name in Section]: Name extends SettingKey
    ? ValueOf<Name>
    : {
        readonly [Key in SettingKey as Key extends `${Name & string}.${infer Rest}`
          ? Rest
          : never]: ValueOf<Key>;
      };
};

export type KeyType = Config['identity']['keyType'];
export type LogLevel = Config['log']['level'];
export type LogFormat = (typeof logFormats)[number];

/** The environment name of a key: `a.bC` is `ONBOARDD_A_B_C`. */
export function environmentName(key: string): string {
  return `ONBOARDD_${key
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll('.', '_')
    .toUpperCase()}`;
}

function isBaseUrl(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const url = new URL(value);
  return /^https?:$/.test(url.protocol) && url.search === '' && url.hash === '';
}

function isNatsUrl(value: string): boolean {
  try {
    return parseNatsAddresses(value).length > 0;
  } catch {
    return false;
  }
}
