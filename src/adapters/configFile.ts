import { existsSync, statSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
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

/** @throws {Error} with the position of a syntax error, or if it is not an object; without quoting the text */
function parsed(text: string): Record<string, unknown> {
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
