// First, so that a signal is heard while the others load.
import './adapters/signals.ts';
import { X509Certificate } from 'node:crypto';
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { Command, CommanderError } from 'commander';
import { readAgentEnvironment, readConfigFile } from './adapters/configFile.ts';
import { openStateDirectory, readText, removeDurably } from './adapters/files.ts';
import { hostDefaults, hostName } from './adapters/host.ts';
import { lockDirectory } from './adapters/lock.ts';
import { createLog, type Log } from './adapters/logger.ts';
import * as pki from './adapters/pki.ts';
import { leaveSignals } from './adapters/signals.ts';
import { type Config, resolveConfig, type Sources, stateDirOf } from './config.ts';
import type { Known } from './daemon.ts';
import { catalogue, describe, OnboardingError } from './errors.ts';
import { run } from './run.ts';
import { files, parseState } from './services/deviceState.ts';
import { reset } from './services/reset.ts';
import { statusLines, statusOf } from './services/status.ts';

declare const BUILD_VERSION: string | undefined;
declare const BUILD_TIME: number | undefined;
const version = typeof BUILD_VERSION === 'undefined' ? '0.0.0' : BUILD_VERSION;
const builtAt = typeof BUILD_TIME === 'undefined' ? 0 : BUILD_TIME;

/** Exit statuses: the contract's, and those of sysexits.h. */
const exit = { ok: 0, failed: 1, notRegistered: 3, usage: 64, locked: 75, configuration: 78 } as const;
const defaultConfigFile = '/etc/onboardd/config.json';

interface CommonFlags {
  readonly config?: string;
  readonly envFile?: string;
  readonly stateDir?: string;
}

// nats.js prints now and then; standard output belongs to the log.
console.log = console.info = console.error;

main(process.argv).then(
  (code) => {
    process.exitCode = code;
    // A look-up of a name or a connection that is being closed must not hold the process.
    setTimeout(() => process.exit(code), 100).unref();
  },
  (error: unknown) => {
    process.stderr.write(
      `onboardd: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    process.exit(exit.failed);
  },
);

async function main(argv: string[]): Promise<number> {
  let code: number = exit.ok;
  const program = common(new Command('onboardd'))
    .description('Takes a Linux device from first power-on to a registered member of a fleet.')
    .version(version)
    .hook('preAction', async (_, command) => {
      if (command.name() !== 'run') await leaveSignals();
    });
  common(program.command('run'))
    .description('onboard, then stay and watch')
    .option('--once', 'end at registered or failed')
    .action(async (flags: CommonFlags & { once?: boolean }) => {
      code = await runCommand({ ...program.opts(), ...flags }, flags.once ?? false);
    });
  common(program.command('status'))
    .description('what the device is doing, from what the daemon left on disk')
    .option('--json', 'for programs')
    .action(async (flags: CommonFlags & { json?: boolean }) => {
      code = await statusCommand({ ...program.opts(), ...flags }, flags.json ?? false);
    });
  common(program.command('reset'))
    .description('forget the identity, for a golden image or a device handed on')
    .option('--yes', 'without asking')
    .action(async (flags: CommonFlags & { yes?: boolean }) => {
      code = await resetCommand({ ...program.opts(), ...flags }, flags.yes ?? false);
    });
  try {
    await program.parseAsync(argv);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? exit.ok : exit.usage;
  }
  return code;
}

function common(command: Command): Command {
  return command
    .exitOverride()
    .option('--config <file>', `configuration file (default: ${defaultConfigFile})`)
    .option('--env-file <file>', 'environment file of the Go agent')
    .option('--state-dir <dir>', 'state directory');
}

async function runCommand(flags: CommonFlags, once: boolean): Promise<number> {
  const host = hostDefaults(process.env);
  const known: Known = { deviceId: null, state: 'idle' };
  const resolved = await configure(flags);
  if ('problems' in resolved) {
    const log = createLog('info', host.logFormat, () => ({}));
    return refuse(
      log,
      new OnboardingError('CONFIG_INVALID', resolved.problems.join('; ')),
      exit.configuration,
    );
  }
  const { config, hostname } = resolved;
  const log = createLog(config.log.level, config.log.format, () => ({ ...known }));
  let unlock: () => void;
  try {
    openStateDirectory(config.stateDir);
    unlock = lockDirectory(config.stateDir);
  } catch (error) {
    if (!(error instanceof OnboardingError)) throw error;
    return refuse(log, error, error.code === 'STATE_LOCKED' ? exit.locked : exit.failed);
  }
  log('info', 'daemon.started', `onboardd ${version} started`, { version, pid: process.pid });
  const how = await run({ config, hostname, version, builtAt, once }, known, log);
  const signal = how === 'registered' || how === 'failed' ? null : how;
  log('info', 'daemon.stopped', signal === null ? `stopped at ${how}` : `stopped by ${signal}`, { signal });
  unlock();
  return how === 'failed' ? exit.failed : exit.ok;
}

async function statusCommand(flags: CommonFlags, json: boolean): Promise<number> {
  const { sources } = await readSources(flags);
  const folder = stateDirOf(sources, hostDefaults(process.env));
  let status: ReturnType<typeof statusOf>;
  try {
    status = statusOf(readText(join(folder, files.state)), pki, version);
  } catch (error) {
    process.stderr.write(`onboardd: ${describe(error)}\n`);
    return exit.notRegistered;
  }
  process.stdout.write(json ? `${JSON.stringify(status)}\n` : `${statusLines(status).join('\n')}\n`);
  return status.state === 'registered'
    ? exit.ok
    : status.state === 'failed'
      ? exit.failed
      : exit.notRegistered;
}

async function resetCommand(flags: CommonFlags, yes: boolean): Promise<number> {
  const { sources } = await readSources(flags);
  const folder = stateDirOf(sources, hostDefaults(process.env));
  if (!existsSync(folder)) {
    process.stdout.write(`${folder} is not there: nothing to forget\n`);
    return exit.ok;
  }
  if (
    !yes &&
    !(await confirmed(`Forget the identity in ${folder}? The fleet will know this device no more. [y/N] `))
  ) {
    process.stderr.write(
      process.stdin.isTTY
        ? 'nothing was changed\n'
        : 'onboardd: reset needs --yes where nobody can be asked\n',
    );
    return process.stdin.isTTY ? exit.failed : exit.usage;
  }
  try {
    const unlock = lockDirectory(folder);
    const removed = reset({
      list: () => readdirSync(folder),
      remove: (name) => removeDurably(join(folder, name)),
    });
    const resolved = resolveConfig(sources, hostDefaults(process.env));
    const exported =
      'config' in resolved ? Object.values(resolved.config.exports).filter((path) => existsSync(path)) : [];
    for (const path of exported) removeDurably(path);
    unlock();
    for (const name of [...removed.map((name) => join(folder, name)), ...exported])
      process.stdout.write(`removed ${name}\n`);
    return exit.ok;
  } catch (error) {
    if (!(error instanceof OnboardingError)) throw error;
    process.stderr.write(`onboardd: ${error.code}: ${error.message}\n`);
    return error.code === 'STATE_LOCKED' ? exit.locked : exit.failed;
  }
}

async function confirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) return false;
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await terminal.question(question);
  terminal.close();
  return /^y(es)?$/i.test(answer.trim());
}

type Configured = { config: Config; hostname: string } | { problems: readonly string[] };

/** The effective configuration, checked against the files that it names and the identity that the device has. */
async function configure(flags: CommonFlags): Promise<Configured> {
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
  const id = identityOnDisk(config.stateDir);
  if (config.identity.deviceId !== null && id !== null && id !== config.identity.deviceId) {
    all.push(
      `identity.deviceId is "${config.identity.deviceId}"; allowed: "${id}", this device's id, until it is reset`,
    );
  }
  return all.length > 0 ? { problems: all } : { config, hostname: hostName(hostnameFile) };
}

async function readSources(
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
    environment: { ...agent.own, ...process.env },
    overlay: agent.overlay,
    file,
  };
  return { sources, problems, hostnameFile: agent.hostnameFile };
}

function refuse(log: Log, error: OnboardingError, code: number): number {
  const { remedy } = catalogue[error.code];
  log('error', 'device.failed', `${error.code}: ${error.message}`, { code: error.code, remedy });
  process.stderr.write(`onboardd: ${error.code}: ${error.message}\n`);
  return code;
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
    const text = readText(join(stateDir, files.state));
    return text === null ? null : parseState(text).deviceId;
  } catch {
    return null;
  }
}
