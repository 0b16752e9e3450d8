import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { systemClock } from '../adapters/clock.ts';
import { keepCompiledCode } from '../adapters/codeCache.ts';
import { type LockedStateDirectory, stateDirectory } from '../adapters/disk/lockedStateDirectory.ts';
import { createHooks } from '../adapters/hooks.ts';
import { hostDefaults } from '../adapters/host.ts';
import type { Log } from '../adapters/logger.ts';
import { type MetricsFile, metricsFile } from '../adapters/metricsFile.ts';
import * as pki from '../adapters/pki.ts';
import { setRuntimeFlag } from '../adapters/runtimeFlag.ts';
import { runtimeStatus } from '../adapters/runtimeStatus.ts';
import { reloadSignal, signalSoFar, stopSignal } from '../adapters/signals.ts';
import { type Supervisor, superviseBy } from '../adapters/systemd.ts';
import type { ProxyVariables } from '../config/proxy.ts';
import { changedKeys } from '../config/resolve.ts';
import type { Config } from '../config/schema.ts';
import { type LogContext, startDaemon } from '../daemon/daemon.ts';
import { createPlatform, type Platform } from '../daemon/platform.ts';
import type { Settings } from '../daemon/settings.ts';
import { catalogue } from '../errors/catalogue.ts';
import { OnboardingError, redact } from '../errors/onboardingError.ts';
import { type FieldsOf, stateNames } from '../events.ts';
import { describeStatus, type Status } from '../services/diagnostics/status.ts';
import { files, isoTime } from '../services/state/deviceState.ts';
import { plainText } from '../text/plainText.ts';
import { type CommonFlags, type Configured, configure, exit, type Usable } from './options.ts';
import { recallFor } from './recalledProgress.ts';
import { createRunLog } from './runLog.ts';
import { settledConfiguration } from './settledConfiguration.ts';

const betweenReadingsMs = 1000;

interface RunOptions extends Settings {
  readonly version: string;
  readonly once: boolean;
  readonly state: LockedStateDirectory;
  readonly proxies: ProxyVariables;
}

/**
 * Runs the daemon until a signal stops it. SIGHUP restarts the machine with the new configuration: in the same process,
 * from the facts on disk, under the same lock.
 *
 * @param reload reads the configuration again; null: it is invalid (and that was logged), so nothing changes
 * @returns how it ended: `registered` or `failed` with `once`, else the signal that stopped it
 * @throws {OnboardingError} STATE_LOCKED: the state directory could not be locked at first, and another daemon has
 *   locked it since
 */
async function run(
  options: RunOptions,
  logContext: LogContext,
  log: Log,
  reload: (current: RunOptions) => Promise<RunOptions | null>,
): Promise<'registered' | 'failed' | NodeJS.Signals> {
  const early = await signalSoFar();
  if (early !== null) return early;
  const supervisor = superviseBy(process.env, (cause) =>
    log('warn', 'supervisor.unreachable', `the service manager cannot be told the state: ${cause}`, {
      cause,
    }),
  );
  const metrics = metricsOf(log);
  const counting = countingFailures(log, metrics);
  const { start, hooksIdle, end } = starter(options, { supervisor, metrics }, logContext, counting);
  let current = options;
  const isNew = !existsSync(join(current.config.stateDir, files.key));
  let daemon = start(current);
  if (isNew) void daemon.settled.then((how) => how === 'registered' && keepCompiledCode());
  try {
    for (;;) {
      const ends = [stopSignal(), daemon.broken, options.state.taken, reloadSignal()];
      const how = await Promise.race(options.once ? [...ends, daemon.settled] : ends);
      // Nothing else runs them later; a stop waits for nobody.
      if (how === 'registered' || how === 'failed') await Promise.race([hooksIdle(), stopSignal()]);
      if (how !== 'SIGHUP') return how;
      supervisor.reloading();
      const next = await reload(current);
      if (next === null) metrics.countFailure('CONFIG_INVALID');
      metrics.beat();
      if (next !== null) {
        current = next;
        daemon.stop();
        daemon = start(current);
      }
      supervisor.reloaded();
    }
  } finally {
    daemon.stop();
    supervisor.stop();
    end();
  }
}

/** Starts daemons on the real platform, one after the other; status, hooks and the units that wait hear of each. */
function starter(
  options: RunOptions,
  { supervisor, metrics }: { readonly supervisor: Supervisor; readonly metrics: MetricsFile },
  logContext: LogContext,
  log: Log,
) {
  const status = runtimeStatus(
    process.env,
    (text) => options.state.directory.note(files.status, text, 0o644),
    (path, cause) => warnOfFile(log, 'RUNTIME_DIRECTORY', `${path} cannot be written: ${cause}`),
  );
  const recall: Platform['recall'] = (state) => state && recallFor(options.config.stateDir)(state.deviceId);
  let shown: Status | null = null;
  let hooks = createHooks(options.config.hooks.dir, log);
  const onMoment: Platform['onMoment'] = (moment) => {
    const directory = process.env.RUNTIME_DIRECTORY;
    if (moment === 'renewed') setRuntimeFlag(directory, 'renewed', true);
    if (moment === 'registered' || moment === 'left')
      setRuntimeFlag(directory, 'unregistered', moment === 'left');
    if (moment !== 'left') hooks.run(moment, shown);
  };
  const start = (next: RunOptions) => {
    hooks = createHooks(next.config.hooks.dir, log);
    metrics.use(next.config.metrics.textfile);
    const publish: Platform['publish'] = (state, progress) => {
      const described = describeStatus(state, progress, {
        reader: pki,
        version: next.version,
        running: true,
      });
      const unwritten = metrics.write(described);
      shown = unwritten === null ? described : { ...described, problems: [...described.problems, unwritten] };
      status.write(shown);
    };
    const { announce } = supervisor;
    const told = { announce, publish, recall, onMoment, onHeartbeat: () => metrics.beat() };
    const platform = { ...createPlatform(next), ...told };
    return startDaemon(platform, next, logContext, log);
  };
  return { start, hooksIdle: () => hooks.idle(), end: () => [status, metrics].map((file) => file.stop()) };
}

function metricsOf(log: Log): MetricsFile {
  return metricsFile({
    states: stateNames,
    now: systemClock.now,
    onUnwritable: (path, cause) => warnOfFile(log, 'metrics.textfile', `${path} cannot be written: ${cause}`),
  });
}

/** @param key the setting that names the file */
function warnOfFile(log: Log, key: string, what: string): void {
  log('warn', 'config.warning', `${key}: ${what}`, { key });
}

/** The log, with failures counted that it leaves out as repeated, too. */
function countingFailures(log: Log, metrics: MetricsFile): Log {
  return (level, event, message, fields) => {
    if (event === 'step.failed') metrics.countFailure((fields as FieldsOf<'step.failed'>).code);
    log(level, event, message, fields);
  };
}

/** `onboardd run`. @returns exit status */
export async function runCommand(
  flags: CommonFlags,
  once: boolean,
  { version, builtAt }: { version: string; builtAt: number },
): Promise<number> {
  const host = hostDefaults(process.env);
  const logContext: LogContext = { deviceId: null, state: 'idle' };
  let isConfigured = false;
  const lines = createRunLog(version, host.logFormat, () => (isConfigured ? { ...logContext } : {}));
  const { log } = lines;
  const resolved = await configureAtStart(flags);
  if ('problems' in resolved) {
    const early = await signalSoFar();
    if (early !== null) return stopped(log, early);
    const error = new OnboardingError('CONFIG_INVALID', resolved.problems.join('; '));
    publishRefusal(error, version, log);
    return refuse(log, error, exit.configuration);
  }
  const { config } = resolved;
  isConfigured = true;
  lines.use(config.log.level, config.log.format);
  const state = stateDirectory(config.stateDir);
  try {
    claimOrWait(state);
    log('info', 'daemon.started', `onboardd ${version} started`, { pid: process.pid });
    warn(log, resolved);
    const options: RunOptions = { ...resolved, version, builtAt, once, state };
    const how = await run(options, logContext, log, async (current) => {
      const next = await reloaded(flags, current, log);
      if (next === null) return null;
      const { level, format } = next.config.log;
      lines.use(level, format);
      warn(log, next);
      return { ...current, ...next };
    });
    const status = stopped(log, how);
    state.release();
    return status;
  } catch (error) {
    if (!isLocked(error)) throw error;
    return refuse(log, error, exit.locked);
  }
}

/** @returns exit status */
function stopped(log: Log, how: 'registered' | 'failed' | NodeJS.Signals): number {
  const signal = how === 'registered' || how === 'failed' ? null : how;
  log('info', 'daemon.stopped', signal === null ? `stopped: ${how}` : `stopped by ${signal}`, { signal });
  return how === 'failed' ? exit.failed : exit.ok;
}

/** Started by systemd, it may have been started by the first of several changes. */
function configureAtStart(flags: CommonFlags): Promise<Configured> {
  if (!process.env.NOTIFY_SOCKET) return configure(flags);
  const pause = () =>
    Promise.race([new Promise((resolve) => setTimeout(resolve, betweenReadingsMs)), stopSignal()]);
  return settledConfiguration(() => configure(flags), pause);
}

/** @returns the current configuration; null: it is invalid, which is logged */
async function reloaded(flags: CommonFlags, { config }: RunOptions, log: Log): Promise<Usable | null> {
  const next = await configure(flags);
  const problems = 'problems' in next ? next.problems : movedDirectory(config, next.config);
  if ('problems' in next || problems.length > 0) {
    const cause = redact(problems.join('; '));
    const message = `reload: CONFIG_INVALID: ${cause}; the previous configuration stays in effect`;
    const failure = { step: 'reload', code: 'CONFIG_INVALID', class: 'permanent', attempt: 1 } as const;
    log('warn', 'step.failed', message, { ...failure, reason: null, retryInMs: null, cause });
    return null;
  }
  const changed = changedKeys(config, next.config).join(', ');
  const message = `configuration reloaded: ${changed === '' ? 'nothing changed' : `${changed} changed`}`;
  log('info', 'config.reloaded', message, { changed });
  return next;
}

/** The lock stays on the directory with which the daemon started. */
function movedDirectory(before: Config, after: Config): string[] {
  if (resolve(before.stateDir) === resolve(after.stateDir)) return [];
  return [`stateDir is "${after.stateDir}"; allowed: "${before.stateDir}" until the daemon is restarted`];
}

function warn(log: Log, { warnings }: Usable): void {
  for (const { key, message } of warnings) log('warn', 'config.warning', message, { key });
}

/** Ignores a disk that is missing or read-only: the machine logs it and tries again. @throws STATE_LOCKED */
function claimOrWait(state: LockedStateDirectory): void {
  try {
    state.claim();
  } catch (error) {
    if (!(error instanceof OnboardingError) || isLocked(error)) throw error;
  }
}

function isLocked(error: unknown): error is OnboardingError {
  return error instanceof OnboardingError && error.code === 'STATE_LOCKED';
}

/** What the daemon would have published, had it started. */
function publishRefusal({ code, reason, message }: OnboardingError, version: string, log: Log): void {
  const at = isoTime(systemClock.now());
  const lastError = { code, reason, message, at };
  const progress = {
    state: 'failed',
    since: at,
    attempt: 1,
    nextRetryAt: null,
    lastError,
    history: [],
  } as const;
  try {
    runtimeStatus(process.env).write(
      describeStatus(null, progress, { reader: pki, version, running: false }),
    );
  } catch (cause) {
    log('debug', 'progress.unsaved', String(cause), {});
  }
}

function refuse(log: Log, error: OnboardingError, code: number): number {
  const { remedy } = catalogue[error.code];
  log('error', 'device.failed', `${error.code}: ${error.message}`, { code: error.code, remedy });
  process.stderr.write(`onboardd: ${error.code}: ${plainText(error.message)}\n`);
  return code;
}
