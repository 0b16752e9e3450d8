import { X509Certificate } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { readAgentEnvironment, readConfigFile } from '../adapters/configFile.ts';
import { readOwn, readText } from '../adapters/files.ts';
import { hostDefaults, hostName } from '../adapters/host.ts';
import { isStateFile } from '../adapters/stateFolder.ts';
import { type Config, resolveConfig, type Sources } from '../config.ts';
import { describe } from '../errors.ts';
import { files, parseState } from '../services/deviceState.ts';
import { isOwnFile } from '../services/ownFiles.ts';
import { refusalOfStateDirectory } from '../stateDirectory.ts';

/** Exit statuses: the contract's, and those of sysexits.h. */
export const exit = { ok: 0, failed: 1, notRegistered: 3, usage: 64, locked: 75, configuration: 78 } as const;
export const defaultConfigFile = '/etc/onboardd/config.json';

export interface CommonFlags {
  readonly config?: string;
  readonly envFile?: string;
  readonly stateDir?: string;
}

export type Configured = { config: Config; hostname: string } | { problems: readonly string[] };

/** The effective configuration, checked against the files that it names and the identity that the device has. */
export async function configure(flags: CommonFlags): Promise<Configured> {
  const { sources, problems, hostnameFile } = await readSources(flags);
  const resolved = resolveConfig(sources, hostDefaults(process.env));
  const all = [...problems, ...('problems' in resolved ? resolved.problems : [])];
  if ('problems' in resolved || all.length > 0) return { problems: all };
  const { config } = resolved;
  const { caFile } = config.provisioning;
  if (caFile !== null && isReadable(caFile) && !holdsCertificates(caFile)) {
    all.push(`provisioning.caFile is "${caFile}"; allowed: a file with PEM certificates`);
  }
  for (const key of ['caFile', 'tokenFile'] as const) {
    const path = config.provisioning[key];
    if (path !== null && !isReadable(path))
      all.push(`provisioning.${key} is "${path}"; allowed: a file that can be read`);
  }
  const refusal = refusalOfStateDirectory(config.stateDir);
  if (refusal !== null) all.push(refusedStateDirectory(config.stateDir, refusal));
  for (const [item, path] of Object.entries(config.exports)) {
    if (isStateFile(path, config.stateDir, isOwnFile))
      all.push(`exports.${item} is "${path}"; allowed: a path that is no file of the state directory`);
  }
  const id = identityOnDisk(config.stateDir);
  if (config.identity.deviceId !== null && id !== null && id !== config.identity.deviceId) {
    all.push(
      `identity.deviceId is "${config.identity.deviceId}"; allowed: "${id}", this device's id, until it is reset`,
    );
  }
  return all.length > 0 ? { problems: all } : { config, hostname: hostName(hostnameFile) };
}

/** @param refusal why it is not to be taken, to follow its path */
export function refusedStateDirectory(folder: string, refusal: string): string {
  return `stateDir is "${folder}", which ${refusal}; allowed: a folder of its own, empty or not there yet, or one that holds the state of onboardd`;
}

export async function readSources(
  flags: CommonFlags,
): Promise<{ sources: Sources; problems: string[]; hostnameFile: string | null }> {
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
      problems.push(`${option} is "${path}"; it cannot be read: ${describe(error)}`);
      return otherwise;
    }
  };
  const none = { overlay: new Map(), own: {}, hostnameFile: null };
  const { envFile, config: configFile = defaultConfigFile } = flags;
  const agent =
    envFile === undefined
      ? none
      : await attempt('--env-file', envFile, () => readAgentEnvironment(envFile), none);
  const file = await attempt('--config', configFile, () => readConfigFile(configFile), {});
  const sources: Sources = {
    flags: flags.stateDir === undefined ? {} : { stateDir: flags.stateDir },
    environment: { ...agent.own, ...serviceEnvironment(), ...process.env },
    overlay: agent.overlay,
    file,
  };
  return { sources, problems, hostnameFile: agent.hostnameFile };
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
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

/** What the unit gives the daemon (EnvironmentFile=), so that a shell's `check`, `status` and `reset` see the same. */
function serviceEnvironment(): Record<string, string | undefined> {
  try {
    const all = Object.entries(parseEnv(readText(serviceFile) ?? ''));
    return Object.fromEntries(all.filter(([name]) => name.startsWith('ONBOARDD_')));
  } catch {
    return {};
  }
}
