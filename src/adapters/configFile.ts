import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { type AgentSettings, fromAgentVariables, fromAgentYaml } from '../config/agentSettings.ts';
import { parseAgentEnvironment } from '../text/environmentFile.ts';
import { isRecord } from '../text/json.ts';
import { jsonFlaw } from '../text/jsonFlaw.ts';
import { readRegularFile } from './regularFile.ts';

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
 * Files that are merged over a configuration file, in the order of their names: of `config.json` every
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
export function mergeLayers(layers: readonly unknown[]): unknown {
  let whole: unknown = {};
  for (const layer of layers) whole = isRecord(whole) && isRecord(layer) ? mergeInto(whole, layer) : layer;
  return whole;
}

function mergeInto(base: Record<string, unknown>, layer: Record<string, unknown>): Record<string, unknown> {
  const merged = Object.entries(layer).map(([name, value]) => {
    const before = Object.hasOwn(base, name) ? base[name] : undefined;
    return [name, isRecord(before) && isRecord(value) ? { ...before, ...value } : value] as const;
  });
  return { ...base, ...Object.fromEntries(merged) };
}

/** @throws {Error} with the position of a syntax error, or if it is not an object; without quoting the text */
function parsed(content: string): Record<string, unknown> {
  // Editors of other systems put a byte order mark in front (RFC 8259, section 8.1: a reader may ignore it).
  const text = content.replace(/^\uFEFF/, '');
  const flaw = jsonFlaw(text);
  if (flaw !== null) throw new Error(`invalid JSON at line ${flaw.line}, column ${flaw.column}`);
  const json: unknown = JSON.parse(text);
  if (!isRecord(json)) throw new Error('it is not a JSON object');
  return json;
}

/** An environment file of the fleet's Go agent (protocol.md, part 4). */
export interface AgentEnvironment extends AgentSettings {
  /** `ONBOARDD_*` lines, which are read like the environment */
  readonly own: Readonly<Record<string, string>>;
}

/** Base of relative paths in the agent's variables. */
const agentFolder = '/var/lib/fogdata';

/**
 * Reads `--env-file`, generations 1 and 2. Variables of other programs are ignored; an empty value counts as absent.
 *
 * @throws {Error} if the file does not exist or cannot be read
 */
export function readAgentEnvironment(path: string): AgentEnvironment {
  const variables = parseAgentEnvironment(readAgentFile(path));
  return {
    ...fromAgentVariables(variables, agentFolder, '--env-file'),
    own: Object.fromEntries([...variables].filter(([name]) => name.startsWith('ONBOARDD_'))),
  };
}

/**
 * Reads `--agent-config`, the YAML of generation 3. Relative paths lie in the folder of the file.
 *
 * @throws {Error} if the file is absent, unreadable or invalid YAML; nothing of it is quoted
 */
export async function readAgentConfig(path: string): Promise<AgentSettings> {
  const text = readAgentFile(path);
  const { parseDocument } = await import('yaml');
  const document = parseDocument(text, { schema: 'core', prettyErrors: false, logLevel: 'silent' });
  const [error] = document.errors;
  if (error !== undefined) {
    const line = text.slice(0, error.pos[0]).split('\n').length;
    throw new Error(`invalid YAML in line ${line}: ${error.code}`);
  }
  const content: unknown = document.toJS({ maxAliasCount: 10 });
  if (content !== null && !isRecord(content)) throw new Error('it holds no mapping');
  return fromAgentYaml(content, dirname(resolve(path)), '--agent-config');
}

/** @throws {Error} */
function readAgentFile(path: string): string {
  const text = readRegularFile(path);
  if (text === null) throw new Error('there is no such file');
  return text;
}
