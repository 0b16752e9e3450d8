import * as v from 'valibot';
import { isRecord } from '../text/json.ts';
import { parseNatsAddresses } from './natsAddress.ts';

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

/** What a key takes. */
interface Kind<Value> {
  readonly schema: v.GenericSchema<unknown, Value>;
  /** In words, for errors and the documentation. */
  readonly allowed: string;
}

/** One key of the configuration: the schema of its value, its default, and the words for documentation and errors. */
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

/** A key that is null where it is not given. */
function optional<Value>(kind: Kind<Value>, meaning: string, shownDefault = 'none'): Setting<Value, null> {
  return { ...kind, meaning, shownDefault, defaultOf: () => null };
}

/** A key with a fixed default. */
function withDefault<Value extends string | number>(
  kind: Kind<Value>,
  meaning: string,
  value: Value,
): Setting<Value, Value> {
  const shownDefault = typeof value === 'number' ? `${value}` : `\`${value}\``;
  return { ...kind, meaning, shownDefault, defaultOf: () => value };
}

/** A key that is off unless it is switched on. */
function switchedOff(meaning: string): Setting<boolean, boolean> {
  const kind = { schema: v.boolean(), allowed: 'true or false' };
  return { ...kind, meaning, shownDefault: '`false`', defaultOf: () => false };
}

/** A key with a default that the host decides, or that is of another type than what the key takes. */
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
const milliseconds = wholeNumber(1, longestTimer);
/** `sha256 Fingerprint=AB:CD…`, with or without the words and the colons, in any case. */
const fingerprint =
  '\\s*([Ss][Hh][Aa]-?256 [Ff]ingerprint\\s*=)?\\s*[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}\\s*';
const fingerprints = text(
  new RegExp(`^${fingerprint}(,${fingerprint})*$`),
  'SHA-256 as `openssl x509 -noout -fingerprint -sha256` prints it, or a comma-separated list',
);
const baseUrl: Kind<string> = {
  // The pattern is for editors: the check decides.
  schema: v.pipe(v.string(), v.check(isBaseUrl), v.metadata({ pattern: '^\\s*[Hh][Tt][Tt][Pp][Ss]?:' })),
  allowed: 'an http: or https: URL without query or fragment',
};
const natsUrl: Kind<string> = {
  schema: v.pipe(v.string(), v.check(isNatsUrl)),
  allowed: 'nats://host:port, tls://host:port, host:port or host, one or a comma-separated list',
};
/** Names that valibot passes over in a record are no items. */
const paths: Kind<Readonly<Record<string, string>>> = {
  schema: v.pipe(
    v.custom<Readonly<Record<string, unknown>>>(
      (value) =>
        isRecord(value) &&
        !['__proto__', 'prototype', 'constructor'].some((name) => Object.hasOwn(value, name)),
    ),
    v.record(v.string(), path.schema),
  ),
  allowed: 'an object of paths',
};

/**
 * The one schema of the configuration: from it come the type `Config`, the checks, the names in the environment, the JSON
 * schema for editors, the table of the README and the manual page.
 */
export const settings = {
  stateDir: withDefaultOf(
    path,
    'The state directory',
    '`$STATE_DIRECTORY`, else `/var/lib/onboardd`',
    (host) => host.stateDir,
  ),
  'provisioning.url': required(baseUrl, 'Base URL of the provisioning server'),
  'provisioning.caFile': withDefaultOf(
    path,
    'PEM file that alone is trusted for `https:`',
    'the credential `provisioning.ca`, else system roots',
    (host) => host.caFile,
  ),
  'provisioning.fleetCaFile': optional(
    path,
    'PEM file with the CA that the answer must bring; of several certificates any one',
  ),
  'provisioning.fleetCaFingerprint': optional(
    fingerprints,
    'The same by its fingerprint, beside `fleetCaFile` or alone; separated by commas any one',
  ),
  'provisioning.tokenFile': withDefaultOf(
    path,
    'File with a bearer token to send',
    'the credential `provisioning.token`, else none',
    (host) => host.tokenFile,
  ),
  'provisioning.swarmId': optional(line, 'Sent as `swarm_id`'),
  'provisioning.timeoutMs': withDefault(milliseconds, 'Limit of one attempt', 15000),
  'identity.deviceId': optional(
    text(/^[A-Za-z0-9_-]{1,64}$/, '1 to 64 of A-Z a-z 0-9 _ -'),
    'The device’s id',
    'a new UUID without dashes',
  ),
  'identity.commonName': withDefault(
    line,
    'Template of the CSR’s common name; `{id}` is filled in',
    '/Finland~Solita/fleet/{id}/registration_agent',
  ),
  'identity.keyType': withDefault(
    oneOf(['rsa-2048', 'rsa-3072', 'rsa-4096', 'ec-p256', 'ec-p384']),
    'Type of the key pair, when it is made',
    'rsa-2048',
  ),
  'device.type': required(line, '`deviceType`'),
  'device.architecture': withDefaultOf(
    line,
    '`architecture`, as Go names it (`arm64`, `amd64`, …)',
    'this machine’s',
    (host) => host.architecture,
  ),
  'device.buildVersion': withDefaultOf(
    line,
    '`buildVersion`',
    'from `/etc/os-release`: `IMAGE_VERSION`, else `BUILD_ID`, else `VERSION_ID`',
    (host) => host.buildVersion,
  ),
  'device.currentOwner': optional(line, '`currentOwner`; left out by default'),
  'device.alias': optional(line, '`alias` to ask for; `{id}` and `{hostname}` are filled in'),
  'device.tailscaleID': optional(line, '`tailscaleID`; `{id}` and `{hostname}` are filled in'),
  'nats.url': optional(
    natsUrl,
    'NATS address, in place of the one that provisioning answers',
    'what provisioning answered',
  ),
  'nats.tls': withDefault(
    oneOf(['required', 'optional']),
    '`optional` accepts a server without TLS: for a closed test network alone',
    'required',
  ),
  'registration.api': withDefault(
    oneOf(['jetstream', 'request']),
    '`request` for the discontinued API',
    'jetstream',
  ),
  'registration.resultStream': optional(
    text(/^[^\s.*>/\\\p{Cc}]{1,255}$/u, 'a stream name: no white space, dots, wildcards or slashes'),
    'Name of the stream with the results',
    'found by subject',
  ),
  'registration.timeoutMs': withDefault(milliseconds, 'From publish to result, one attempt', 30000),
  'registration.onChange': switchedOff(
    'Register again when alias, owner or build version changed in the configuration',
  ),
  'retry.initialMs': withDefault(milliseconds, 'Ceiling of the first wait; full jitter below it', 1000),
  'retry.maxMs': withDefault(milliseconds, 'Highest ceiling of a wait', 300000),
  'retry.factor': withDefault(number(1, 100), 'Growth of the ceiling from attempt to attempt', 2),
  'retry.failedAfterMs': withDefault(
    wholeNumber(0, longestTimer),
    'How long `failed` rests before the next try; 0: never by itself',
    900000,
  ),
  'renewal.at': withDefaultOf(
    number(0.01, 0.99),
    'Fraction of the certificate’s life at which it is renewed',
    '0.7 to 0.9, rolled once per certificate',
    (): readonly [number, number] => [0.7, 0.9],
  ),
  'hooks.dir': withDefault(
    path,
    'Folder of executables that are run after `registered`, `renewed`, `failed` and `reset`',
    '/etc/onboardd/hooks.d',
  ),
  exports: withDefaultOf(
    paths,
    'Result field or identity item → path of a file to write it to',
    'none',
    (): Readonly<Record<string, string>> => ({}),
  ),
  'log.level': withDefault(oneOf(['error', 'warn', 'info', 'debug']), 'Least level that is logged', 'info'),
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
  return /^https?:$/.test(url.protocol) && url.hostname !== '' && url.search === '' && url.hash === '';
}

function isNatsUrl(value: string): boolean {
  try {
    return parseNatsAddresses(value).length > 0;
  } catch {
    return false;
  }
}
