import { X509Certificate } from 'node:crypto';
import { accessSync, constants, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import {
  mergeLayers,
  overlayFolder,
  overlaysOf,
  readAgentConfig,
  readAgentEnvironment,
  readConfigFile,
} from '../adapters/configFile.ts';
import { readOwn, readText } from '../adapters/disk/durableFile.ts';
import { groupId } from '../adapters/disk/exportedFile.ts';
import { refusalOfStateDirectory } from '../adapters/disk/lockedStateDirectory.ts';
import { isStateFile } from '../adapters/disk/stateFolder.ts';
import { fleetCaPins } from '../adapters/fleetCa.ts';
import { hostDefaults, hostNameIn } from '../adapters/host.ts';
import { readRegularFile } from '../adapters/regularFile.ts';
import { statusFileOf } from '../adapters/runtimeStatus.ts';
import { type AgentSettings, mergedAgents, noAgent } from '../config/agentSettings.ts';
import { exportTarget } from '../config/exports.ts';
import { provisioningUrls } from '../config/provisioningUrls.ts';
import { type ProxyVariables, proxyFor, proxyNames, proxyVariables } from '../config/proxy.ts';
import { resolveConfig, type Sources } from '../config/resolve.ts';
import type { Config } from '../config/schema.ts';
import { templateWarnings } from '../config/templates.ts';
import { describe } from '../errors/onboardingError.ts';
import type { Warning } from '../services/diagnostics/check.ts';
import { files, parseState } from '../services/state/deviceState.ts';
import { isOwnFile } from '../services/state/ownFiles.ts';
import { parseServiceEnvironment } from '../text/environmentFile.ts';

/** Exit statuses (docs/contract.md); those from 64 on are sysexits.h's. */
export const exit = { ok: 0, failed: 1, notRegistered: 3, usage: 64, locked: 75, configuration: 78 } as const;
export const defaultConfigFile = '/etc/onboardd/config.json';
/** Defaults of the package, beneath the configuration file; `config.d` beside it is the image builder's. */
const packagedConfigFile = '/usr/lib/onboardd/config.json';

/** Of the program that runs. */
export interface Build {
  readonly version: string;
  /** Milliseconds since 1970 */
  readonly builtAt: number;
}

export interface CommonFlags {
  readonly config?: string;
  readonly envFile?: string;
  readonly agentConfig?: string;
  readonly stateDir?: string;
}

/** A configuration that can be run with. */
export interface Usable {
  readonly config: Config;
  readonly hostname: string;
  /** See `fleetCaPins` */
  readonly fleetCa: readonly string[] | null;
  readonly proxies: ProxyVariables;
  /** The Go agent that ran on this device */
  readonly agent: AgentSettings;
  readonly warnings: readonly Warning[];
}

export type Configured = Usable | { readonly problems: readonly string[] };

/** The effective configuration, checked against the files that it names and the identity that the device has. */
export async function configure(flags: CommonFlags): Promise<Configured> {
  const { sources, problems, agent, files: read } = await readSources(flags);
  const resolved = resolveConfig(sources, hostDefaults(process.env));
  const all = [...problems, ...agent.problems, ...('problems' in resolved ? resolved.problems : [])];
  if ('problems' in resolved || all.length > 0) return { problems: all };
  const { config } = resolved;
  const { caFile } = config.provisioning;
  if (caFile !== null && isReadable(caFile) && !holdsCertificates(caFile)) {
    all.push(`provisioning.caFile is "${caFile}"; allowed: a file with PEM certificates`);
  }
  for (const key of ['caFile', 'fleetCaFile', 'tokenFile', 'clientCertFile', 'clientKeyFile'] as const) {
    const path = config.provisioning[key];
    if (path !== null && !isReadable(path))
      all.push(`provisioning.${key} is "${path}"; allowed: a regular file that can be read`);
  }
  const fleetCa = pinsOf(config, all);
  const refusal = refusalOfStateDirectory(config.stateDir);
  if (refusal !== null) all.push(refusedStateDirectory(config.stateDir, refusal));
  for (const [item, setting] of Object.entries(config.exports)) {
    const { path, group } = exportTarget(setting);
    if (group !== null && groupId(group) === null)
      all.push(`exports.${item}.group is "${group}"; allowed: a group of this system`);
    if (isStateFile(path, config.stateDir, isOwnFile))
      all.push(`exports.${item} is "${path}"; allowed: a path outside the files of the state directory`);
  }
  const id = identityOnDisk(config.stateDir);
  if (config.identity.deviceId !== null && id !== null && id !== config.identity.deviceId) {
    all.push(
      `identity.deviceId is "${config.identity.deviceId}"; allowed: "${id}", this device's id, until it is reset`,
    );
  }
  const proxies = proxyVariables(sources.environment);
  all.push(...proxyProblems(config, proxies));
  if (all.length > 0) return { problems: all };
  const host = hostNameOf(config, agent);
  const warnings = [...warningsOf(config, read), ...agentNotes(agent), ...host.warnings];
  return { config, hostname: host.name, fleetCa, proxies, agent, warnings };
}

/** The text of `{hostname}`: what the earlier agent's file says, else the system's name. */
function hostNameOf(
  { device }: Config,
  { hostnameFile }: AgentSettings,
): { name: string; warnings: Warning[] } {
  if (hostnameFile === null) return { name: hostname(), warnings: [] };
  const { path, setting } = hostnameFile;
  const found = hostNameIn(path);
  const name = found ?? hostname();
  const isUsed = Object.values(device).some((text) => text?.includes('{hostname}'));
  const key = setting.endsWith('--agent-config') ? '--agent-config' : '--env-file';
  const flaw = !isUsed
    ? ', and not used: no setting names {hostname}'
    : found === null
      ? `, which holds no host name that can be read: {hostname} is "${name}"`
      : null;
  return { name, warnings: flaw === null ? [] : [{ key, message: `${setting} is "${path}"${flaw}` }] };
}

/** What keeps the proxies of the environment from being used. */
function proxyProblems(config: Config, proxies: ProxyVariables): string[] {
  try {
    for (const url of provisioningUrls(config)) proxyFor(new URL(url), config.provisioning.proxy, proxies);
    return [];
  } catch (error) {
    return [describe(error)];
  }
}

/** The CAs that an answer may bring; what is wrong with the content of the file that names them is put to the problems. */
function pinsOf(config: Config, problems: string[]): readonly string[] | null {
  const { fleetCaFile } = config.provisioning;
  if (fleetCaFile !== null && !isReadable(fleetCaFile)) return null;
  try {
    return fleetCaPins(config);
  } catch {
    problems.push(`provisioning.fleetCaFile is "${fleetCaFile}"; allowed: a file with PEM certificates`);
    return null;
  }
}

/** @param read option → file of the configuration */
function warningsOf(config: Config, read: Readonly<Record<string, string>>): Warning[] {
  const { tokenFile } = config.provisioning;
  const places = Object.entries({ ...read, ...(tokenFile && { 'provisioning.tokenFile': tokenFile }) });
  const open = places
    .filter(([, path]) => isWritableByAll(path))
    .map(([key, path]) => ({
      key,
      message: `${key} is "${path}", which every user of this device may change: run chmod o-w on it`,
    }));
  const isPlain = tokenFile !== null && provisioningUrls(config).some((url) => /^http:/i.test(url));
  const plain = isPlain ? [{ key: 'provisioning.tokenFile', message: plainToken }] : [];
  return [...open, ...plain, ...templateWarnings(config)];
}

function agentNotes({ notes }: AgentSettings): Warning[] {
  return notes.map((message) => ({
    key: message.includes('--agent-config') ? '--agent-config' : '--env-file',
    message,
  }));
}

const plainToken =
  'provisioning.tokenFile is sent over http:, so everybody on the network can read the token: use https: in provisioning.url';

function isWritableByAll(path: string): boolean {
  try {
    const at = statSync(path);
    return at.isFile() && (at.mode & 0o002) !== 0;
  } catch {
    return false;
  }
}

/** @param refusal why it is not to be taken, to follow its path */
export function refusedStateDirectory(folder: string, refusal: string): string {
  return `stateDir is "${folder}", which ${refusal}; allowed: a directory that is empty, does not exist yet, or holds the state of onboardd`;
}

/** Where the daemon publishes the status of this device; null if the command is about another state directory. */
export function publishedStatusFile({ stateDir, config, envFile }: CommonFlags): string | null {
  const { RUNTIME_DIRECTORY, ONBOARDD_STATE_DIR } = process.env;
  const isUsual = [stateDir, config, envFile, ONBOARDD_STATE_DIR].every((choice) => choice === undefined);
  return statusFileOf(RUNTIME_DIRECTORY ?? (isUsual ? '/run/onboardd' : undefined));
}

export async function readSources(flags: CommonFlags): Promise<{
  sources: Sources;
  problems: string[];
  agent: AgentSettings;
  /** Option, of the command line or the unit → file that was read, where it is there */
  files: Readonly<Record<string, string>>;
}> {
  const problems: string[] = [];
  const attempt = async <T>(
    option: string,
    path: string,
    read: () => T | Promise<T>,
    otherwise: T,
  ): Promise<T> => {
    try {
      return await read();
    } catch (error) {
      const what = option === path ? path : `${option} is "${path}"; it`;
      problems.push(`${what} cannot be read: ${describe(error)}`);
      return otherwise;
    }
  };
  const none = { ...noAgent, own: {} };
  const { envFile, agentConfig, config: configFile = defaultConfigFile } = flags;
  const environment =
    envFile === undefined
      ? none
      : await attempt('--env-file', envFile, () => readAgentEnvironment(envFile), none);
  const yaml =
    agentConfig === undefined
      ? noAgent
      : await attempt('--agent-config', agentConfig, () => readAgentConfig(agentConfig), noAgent);
  const agent = mergedAgents(environment, yaml);
  const layers: unknown[] = [];
  const laid: Record<string, string> = {};
  for (const base of [packagedConfigFile, configFile]) {
    const option = base === configFile ? '--config' : base;
    layers.push(await attempt(option, base, () => readConfigFile(base), {}));
    const folder = overlayFolder(base);
    for (const path of await attempt(folder, folder, () => overlaysOf(base), [])) {
      layers.push(await attempt(path, path, () => readConfigFile(path), {}));
      laid[path] = path;
    }
  }
  const sources: Sources = {
    flags: flags.stateDir === undefined ? {} : { stateDir: flags.stateDir },
    environment: { ...environment.own, ...environmentNow(process.env, atStart, serviceEnvironment()) },
    overlay: agent.overlay,
    file: mergeLayers(layers),
  };
  const read = {
    '--config': configFile,
    ...laid,
    ...(envFile !== undefined && { '--env-file': envFile }),
    ...(agentConfig !== undefined && { '--agent-config': agentConfig }),
    EnvironmentFile: serviceFile,
  };
  return { sources, problems, agent, files: read };
}

/** False for a pipe, which could block its reader. */
function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function holdsCertificates(path: string): boolean {
  try {
    return new X509Certificate(readText(path) ?? '').subject !== '';
  } catch {
    return false;
  }
}

function identityOnDisk(stateDir: string): string | null {
  try {
    const text = readOwn(join(stateDir, files.state));
    return text === null ? null : parseState(text).deviceId;
  } catch {
    return null;
  }
}

const serviceFile = '/etc/default/onboardd';
/** As the service manager has read it, where it started us. */
const atStart = serviceEnvironment();

/**
 * The environment with what the service's file says now. What the service manager put into the process's own environment
 * from that file never changes by itself, and gives way; a variable that is set otherwise stands above the file.
 */
export function environmentNow(
  own: Readonly<Record<string, string | undefined>>,
  fileAtStart: Readonly<Record<string, string | undefined>>,
  fileNow: Readonly<Record<string, string | undefined>>,
): Record<string, string | undefined> {
  const set = Object.entries(own).filter(([name, value]) => fileAtStart[name] !== value);
  return { ...fileNow, ...Object.fromEntries(set) };
}

/** What the unit gives the daemon (EnvironmentFile=), so that a shell's `check`, `status` and `reset` see the same. */
function serviceEnvironment(): Record<string, string | undefined> {
  try {
    const all = [...parseServiceEnvironment(readRegularFile(serviceFile) ?? '')];
    return Object.fromEntries(
      all.filter(([name]) => name.startsWith('ONBOARDD_') || proxyNames.includes(name)),
    );
  } catch {
    return {};
  }
}
