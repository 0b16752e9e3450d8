import { createActor, type InspectionEvent } from 'xstate';
import type { Log } from '../adapters/logger.ts';
import { OnboardingError } from '../errors/onboardingError.ts';
import { remedyOf } from '../errors/reasons.ts';
import type { StateName } from '../events.ts';
import type { Failed } from '../machines/contracts.ts';
import {
  currentState,
  isoTime,
  type Progress,
  type StateDirectory,
  updateState,
  type Visit,
  withVisit,
} from '../services/state/deviceState.ts';
import { type Settings, wire } from './actors.ts';
import type { Platform } from './platform.ts';

/** What is known of the device while it runs, for every line of the log. */
export interface LogContext {
  deviceId: string | null;
  state: StateName;
}

export interface Daemon {
  /** Settles when the device is registered and all was delivered, or failed. */
  readonly settled: Promise<'registered' | 'failed'>;
  /** Rejects where a bug ended the machine. */
  readonly broken: Promise<never>;
  stop(): void;
}

/**
 * Runs the machine in a world, tells the log what it does, and leaves on disk what `status` shows.
 *
 * @param known kept up to date for the log
 */
export function startDaemon(world: Platform, settings: Settings, known: LogContext, log: Log): Daemon {
  const { directory } = world;
  const { timers, onBug } = world;
  const actor = createActor(wire(world, settings, log), {
    ...(timers && { clock: timers as NonNullable<Parameters<typeof createActor>[1]>['clock'] & {} }),
    ...(onBug && { inspect: (inspected: InspectionEvent) => tellBug(inspected, onBug) }),
  });
  const started = world.monotonic();
  let since = world.now();
  let entered = started;
  let saved = '';
  let history: readonly Visit[] | null = null;
  let breakDown: (error: unknown) => void = () => {};
  const broken = new Promise<never>((_, reject) => {
    breakDown = reject;
  });
  const settled = new Promise<'registered' | 'failed'>((resolve) => {
    actor.subscribe({
      error: breakDown,
      next: (snapshot) => {
        const { value, context } = snapshot;
        const [state] = typeof value === 'string' ? [value] : Object.keys(value);
        const to = state as StateName;
        const now = world.monotonic();
        // A device that cannot resume has an id all the same, if one can be read.
        known.deviceId ??= context.deviceId ?? deviceIdOf(directory);
        const from = known.state;
        const durationMs = now - entered;
        if (from !== to) {
          history = withVisit(history ?? historyOf(directory), {
            state: from,
            at: isoTime(since),
            durationMs,
          });
          known.state = to;
          since = world.now();
          entered = now;
        }
        const { attempt, failure, nextRetryAt } = context;
        const summary = JSON.stringify([to, since, attempt, nextRetryAt, failure]);
        const progress: Progress = {
          state: to,
          since: isoTime(since),
          attempt,
          nextRetryAt: nextRetryAt === null ? null : isoTime(nextRetryAt),
          lastError: failure && {
            code: failure.code,
            reason: failure.reason,
            message: failure.message,
            at: isoTime(failure.at),
          },
          history: history ?? historyOf(directory),
        };
        if (known.deviceId !== null && summary !== saved) {
          // What could not be written is written with the next look.
          if (saveProgress(directory, log, progress)) saved = summary;
        }
        const isRegistered = snapshot.hasTag('delivered');
        world.announce?.(progress, isRegistered);
        if (from !== to) {
          log('info', 'state.changed', `${from} → ${to}`, { from, to, durationMs });
          if (to === 'registered') logRegistered(log, directory, now - started);
          if (to === 'failed' && failure) {
            const { code, reason, message } = failure;
            log('error', 'device.failed', `${code}: ${message}`, { code, remedy: remedyOf(code, reason) });
          }
        }
        if (to === 'failed') resolve('failed');
        if (isRegistered) resolve('registered');
      },
    });
  });
  actor.on('step.failed', (told) => logFailure(log, told));
  actor.on('certificate.renewed', ({ type, ...renewed }) =>
    log('info', type, `the certificate was renewed and is valid until ${renewed.notAfter}`, { ...renewed }),
  );
  actor.on('address.refused', ({ type, ...refused }) =>
    log('warn', type, `the new NATS address is not taken: ${refused.code}: ${refused.cause}`, { ...refused }),
  );
  actor.on('certificate.useless', ({ type, ...useless }) =>
    log(
      'warn',
      type,
      `the certificate has not opened NATS in ${useless.failures} tries: another one is asked for`,
      { ...useless },
    ),
  );
  actor.start();
  return { settled, broken, stop: () => actor.stop() };
}

/** Tells the error of a step that failed, if it is not of the catalogue or is INTERNAL there. */
function tellBug(inspected: InspectionEvent, onBug: (error: unknown) => void): void {
  if (inspected.type !== '@xstate.event' || !/^(xstate\.error\.actor\.|FAILED$)/.test(inspected.event.type))
    return;
  const error: unknown = inspected.event.error;
  if (!(error instanceof OnboardingError) || error.code === 'INTERNAL') onBug(error);
}

function logFailure(log: Log, { type, ...failed }: Failed): void {
  const { step, code, attempt, retryInMs, cause } = failed;
  const next =
    retryInMs === null ? 'no further try by itself' : `next try in ${(retryInMs / 1000).toFixed(1)} s`;
  log('warn', type, `${step}, attempt ${attempt}: ${code}: ${cause}; ${next}`, { ...failed });
}

function logRegistered(log: Log, directory: StateDirectory, durationMs: number): void {
  const alias = aliasOf(directory);
  log('info', 'device.registered', `registered${alias === null ? '' : ` as ${alias}`}`, {
    alias,
    durationMs,
  });
}

function aliasOf(directory: StateDirectory): string | null {
  try {
    return currentState(directory).registration?.alias ?? null;
  } catch {
    return null;
  }
}

/** What earlier starts left. */
function historyOf(directory: StateDirectory): readonly Visit[] {
  try {
    return currentState(directory).progress.history;
  } catch {
    return [];
  }
}

function deviceIdOf(directory: StateDirectory): string | null {
  try {
    return currentState(directory).deviceId;
  } catch {
    return null;
  }
}

/** Bookkeeping for `status`: where it cannot be written, the device goes on. */
function saveProgress(directory: StateDirectory, log: Log, progress: Progress): boolean {
  try {
    updateState(directory, () => ({ progress }));
    return true;
  } catch (error) {
    log('debug', 'progress.unsaved', String(error), {});
    return false;
  }
}
