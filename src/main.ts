// First, so that a signal is heard while the others load.
import './adapters/signals.ts';
import { resolve } from 'node:path';
import { Command, CommanderError } from 'commander';
import { type Claimable, stateDirectory } from './adapters/disk/lockedStateDirectory.ts';
import { hostDefaults } from './adapters/host.ts';
import { createLog, type Log } from './adapters/logger.ts';
import { leaveSignals } from './adapters/signals.ts';
import { checkCommand } from './cli/check.ts';
import { explainCommand } from './cli/explain.ts';
import { type CommonFlags, configure, defaultConfigFile, exit, type Usable } from './cli/options.ts';
import { type ReportFlags, reportCommand } from './cli/report.ts';
import { resetCommand } from './cli/reset.ts';
import { type StatusFlags, statusCommand } from './cli/status.ts';
import { changedKeys } from './config/resolve.ts';
import type { Config } from './config/schema.ts';
import type { Known } from './daemon/daemon.ts';
import { type RunOptions, run } from './daemon/run.ts';
import { catalogue } from './errors/catalogue.ts';
import { OnboardingError, redact } from './errors/onboardingError.ts';
import { plainText } from './text/plainText.ts';

declare const BUILD_VERSION: string | undefined;
declare const BUILD_TIME: number | undefined;
const version = typeof BUILD_VERSION === 'undefined' ? '0.0.0' : BUILD_VERSION;
const builtAt = typeof BUILD_TIME === 'undefined' ? 0 : BUILD_TIME;

// nats.js prints now and then; standard output belongs to the log.
console.log = console.info = console.error;

main(process.argv).then(
  (code) => {
    process.exitCode = code;
    // A look-up of a name or a connection that is being closed must not hold the process.
    setTimeout(() => process.exit(code), 100).unref();
  },
  (error: unknown) => {
    const told = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.stderr.write(`onboardd: ${told.split('\n').map(plainText).join('\n')}\n`);
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
    .option('--watch', 'follow it live, until Ctrl-C')
    .action(async (flags: StatusFlags) => {
      code = await statusCommand({ ...program.opts(), ...flags }, version);
    });
  common(program.command('check'))
    .description('preflight: whether onboarding would work, and what to mend; changes nothing')
    .option('--json', 'for programs')
    .action(async (flags: CommonFlags & { json?: boolean }) => {
      code = await checkCommand({ ...program.opts(), ...flags }, { version, builtAt });
    });
  program
    .command('report')
    .exitOverride()
    .description('the fleet as its logs tell it: who got how far, how long it took, what went wrong')
    .argument('[files...]', 'logs of any number of devices; none, or -: standard input')
    .option('--html <file>', 'write one self-contained page too')
    .option('--stuck-after <minutes>', 'how long a device may stay unregistered in one state (default: 60)')
    .action(async (files: string[], flags: ReportFlags) => {
      code = await reportCommand(files, flags);
    });
  program
    .command('explain')
    .exitOverride()
    .description('class, cause and remedy of an error code, or the fields of a log event')
    .argument('[names...]', 'error codes, events or message ids; none: list them')
    .action((names: string[]) => {
      code = explainCommand(names);
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
  const { config } = resolved;
  let write = createLog(config.log.level, config.log.format, () => ({ ...known }));
  const log: Log = (...line) => write(...line);
  const state = stateDirectory(config.stateDir);
  try {
    claimOrWait(state);
    log('info', 'daemon.started', `onboardd ${version} started`, { version, pid: process.pid });
    warn(log, resolved);
    const options: RunOptions = { ...resolved, version, builtAt, once, state };
    const how = await run(options, known, log, async (current) => {
      const next = await reloaded(flags, current, log);
      if (next === null) return null;
      const { level, format } = next.config.log;
      write = createLog(level, format, () => ({ ...known }));
      warn(log, next);
      return { ...current, ...next };
    });
    const signal = how === 'registered' || how === 'failed' ? null : how;
    log('info', 'daemon.stopped', signal === null ? `stopped at ${how}` : `stopped by ${signal}`, { signal });
    state.release();
    return how === 'failed' ? exit.failed : exit.ok;
  } catch (error) {
    if (!isLocked(error)) throw error;
    return refuse(log, error, exit.locked);
  }
}

/** @returns the configuration as it is now; null: it is no good, which the log says */
async function reloaded(flags: CommonFlags, { config }: RunOptions, log: Log): Promise<Usable | null> {
  const next = await configure(flags);
  const problems = 'problems' in next ? next.problems : movedDirectory(config, next.config);
  if ('problems' in next || problems.length > 0) {
    const cause = redact(problems.join('; '));
    const message = `reload: CONFIG_INVALID: ${cause}; the configuration from before stays`;
    const failure = { step: 'reload', code: 'CONFIG_INVALID', class: 'permanent', attempt: 1 } as const;
    log('warn', 'step.failed', message, { ...failure, retryInMs: null, cause });
    return null;
  }
  const changed = changedKeys(config, next.config).join(', ');
  const message = `the configuration was read again: ${changed === '' ? 'nothing changed' : `${changed} changed`}`;
  log('info', 'config.reloaded', message, { changed });
  return next;
}

/** The lock is held on the directory that the daemon began with. */
function movedDirectory(before: Config, after: Config): string[] {
  if (resolve(before.stateDir) === resolve(after.stateDir)) return [];
  return [`stateDir is "${after.stateDir}"; allowed: "${before.stateDir}", until the daemon is restarted`];
}

function warn(log: Log, { warnings }: Usable): void {
  for (const { key, message } of warnings) log('warn', 'config.warning', message, { key });
}

/** A disk that is not there yet, or not writable: the machine tries again, and says so. @throws STATE_LOCKED */
function claimOrWait(state: Claimable): void {
  try {
    state.claim();
  } catch (error) {
    if (!(error instanceof OnboardingError) || isLocked(error)) throw error;
  }
}

function isLocked(error: unknown): error is OnboardingError {
  return error instanceof OnboardingError && error.code === 'STATE_LOCKED';
}

function refuse(log: Log, error: OnboardingError, code: number): number {
  const { remedy } = catalogue[error.code];
  log('error', 'device.failed', `${error.code}: ${error.message}`, { code: error.code, remedy });
  process.stderr.write(`onboardd: ${error.code}: ${plainText(error.message)}\n`);
  return code;
}
