import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import type { SettingKey } from '../config/schema.ts';
import { isRecord } from '../text/json.ts';
import { jsonFlaw } from '../text/jsonFlaw.ts';

/**
 * Reads the configuration file with conf, and changes nothing: conf would create the folder of a missing file, and
 * installs signal handlers when it is loaded.
 *
 * @returns the parsed JSON; an empty object if the file does not exist
 * @throws {Error} if the file cannot be read or is not valid JSON
 */
export async function readConfigFile(path: string): Promise<unknown> {
  if (!existsSync(path)) return {};
  if (!statSync(path).isFile()) throw new Error('it is not a regular file');
  process.env.HOME ||= '/nonexistent';
  const before = new Map(
    process.eventNames().map((name) => [name, process.listeners(name as NodeJS.Signals)]),
  );
  const { default: Conf } = await import('conf');
  for (const name of process.eventNames()) {
    for (const listener of process.listeners(name as NodeJS.Signals)) {
      if (!before.get(name)?.includes(listener)) process.removeListener(name, listener);
    }
  }
  const file = basename(resolve(path));
  const [, name = file, extension = ''] = /^(.+)\.([^.]+)$/.exec(file) ?? [];
  const conf = new Conf({
    projectName: 'onboardd',
    cwd: dirname(resolve(path)),
    configName: name,
    fileExtension: extension,
    clearInvalidConfig: false,
    accessPropertiesByDotNotation: false,
    deserialize: parsed,
  });
  return { ...conf.store };
}

/**
 * Files that are laid over a configuration file, in the order of their names: of `config.json` every
 * `config.d/*.json` beside it. Hidden files and names that end otherwise (`.dpkg-old`, `.bak`) are left out.
 *
 * @throws {Error} if the folder is there and cannot be listed
 */
export function overlaysOf(path: string): string[] {
  const folder = overlayFolder(path);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json') && !name.startsWith('.'))
    .sort()
    .map((name) => join(folder, name));
}

/** `/etc/onboardd/config.json` -> `/etc/onboardd/config.d` */
export function overlayFolder(path: string): string {
  return `${resolve(path).replace(/\.json$/, '')}.d`;
}

/** One object of several: sections are merged key by key, `exports` item by item; of all else the last one wins. */
export function laidOver(layers: readonly unknown[]): unknown {
  let whole: unknown = {};
  for (const layer of layers) whole = isRecord(whole) && isRecord(layer) ? mergedInto(whole, layer) : layer;
  return whole;
}

function mergedInto(base: Record<string, unknown>, layer: Record<string, unknown>): Record<string, unknown> {
  const merged = Object.entries(layer).map(([name, value]) => {
    const before = Object.hasOwn(base, name) ? base[name] : undefined;
    return [name, isRecord(before) && isRecord(value) ? { ...before, ...value } : value] as const;
  });
  return { ...base, ...Object.fromEntries(merged) };
}

/** @throws {Error} with the position of a syntax error, or if it is not an object; without quoting the text */
function parsed(text: string): Record<string, unknown> {
  const flaw = jsonFlaw(text);
  if (flaw !== null) throw new Error(`invalid JSON at line ${flaw.line}, column ${flaw.column}`);
  const json: unknown = JSON.parse(text);
  if (!isRecord(json)) throw new Error('it is not a JSON object');
  return json;
}

/** The content of an environment file of the fleet's Go agent (protocol.md, part 4). */
export interface AgentEnvironment {
  readonly overlay: ReadonlyMap<SettingKey, unknown>;
  /** `ONBOARDD_*` lines, which are read like the environment */
  readonly own: Readonly<Record<string, string>>;
  readonly hostnameFile: string | null;
}

/** Base of relative paths in the agent's variables. */
const agentFolder = '/var/lib/fogdata';

const exported: Readonly<Record<string, string>> = {
  SERVICE_IDENTITY_KEY_FILE: 'key',
  SERVICE_IDENTITY_CERTIFICATE_FILE: 'certificate',
  SERVICE_IDENTITY_CA_FILE: 'caCertificate',
  SERVICE_NATS_URL_FILE: 'natsUrl',
  DEVICE_ID_FILE: 'deviceId',
  DEVICE_IDENTITY_FILE: 'identity',
  DEVICE_AUTH_TOKEN_FILE: 'token',
  DEVICE_CONFIGURATION_FILE: 'configuration',
  UTM_CLIENT_SECRET_FILE: 'utmClientSecret',
  RABBIT_MQ_SECRET_FILE: 'rabbitMqSecret',
};

/**
 * Reads `--env-file`. Variables of other programs are ignored; an empty value counts as absent.
 * `AUTOMATIC_PROVISIONING` has no effect: a device with a certificate never requests another one.
 *
 * @throws {Error} if the file cannot be read
 */
export function readAgentEnvironment(path: string): AgentEnvironment {
  const variables = parseEnvironment(readFileSync(path, 'utf8'));
  const place = (name: string) => {
    const value = variables.get(name);
    return value === undefined ? undefined : isAbsolute(value) ? value : join(agentFolder, value);
  };
  const overlay = new Map<SettingKey, unknown>();
  const put = (key: SettingKey, value: unknown) => value !== undefined && overlay.set(key, value);
  put('provisioning.url', variables.get('PROVISIONING_URL'));
  put('device.alias', variables.get('DEVICE_ALIAS'));
  const tls = variables.get('TLS');
  put(
    'nats.tls',
    tls === undefined ? undefined : tls === 'true' ? 'required' : tls === 'false' ? 'optional' : tls,
  );
  const exports = Object.entries(exported).flatMap(([variable, item]) => {
    const target = place(variable);
    return target === undefined ? [] : [[item, target] as const];
  });
  if (exports.length > 0) overlay.set('exports', Object.fromEntries(exports));
  return {
    overlay,
    own: Object.fromEntries([...variables].filter(([name]) => name.startsWith('ONBOARDD_'))),
    hostnameFile: place('DEVICE_HOSTNAME_FILE') ?? null,
  };
}

/**
 * `NAME=value` lines as systemd and shells write them: comments, `export`, quotes and surrounding space. A `#` within a
 * value belongs to it, as for systemd; a backslash stays, and a value ends with its line. `parseEnv` of Node differs in
 * all three.
 */
function parseEnvironment(text: string): Map<string, string> {
  const variables = new Map<string, string>();
  for (const line of text.split(/[\r\n]/)) {
    const [, name, raw = ''] = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)$/s.exec(line) ?? [];
    const value = raw.trim().replace(/^(["'])(.*)\1$/s, '$2');
    if (name !== undefined && value !== '') variables.set(name, value);
  }
  return variables;
}
