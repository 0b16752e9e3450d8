import { createActor, type InspectionEvent } from 'xstate';
import type { Log } from '../adapters/logger.ts';
import { OnboardingError } from '../errors/onboardingError.ts';
import type { LeaveReason, ReplaceReason, StateName } from '../events.ts';
import { timeoutsOf } from '../machines/failure.ts';
import type { ExportFailure } from '../services/onboarding/exportFiles.ts';
import type { Progress } from '../services/state/deviceState.ts';
import { policyOf, type Reports, wire } from './actors.ts';
import { logHeartbeats } from './heartbeat.ts';
import { watchMoments } from './moments.ts';
import type { Platform } from './platform.ts';
import { type Position, progressOf } from './progress.ts';
import type { Settings } from './settings.ts';
import { createStatusWriter } from './statusWriter.ts';
import {
  entryOfAdopted,
  entryOfEmitted,
  entryOfLeft,
  entryOfQuarantined,
  entryOfReplaced,
  type LogEntry,
  write,
} from './transitionLog.ts';
import { type ActiveState, activeStateAt, waitsAt } from './waiting.ts';

/** Fields of every line of the log, while the device runs. */
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
 * Runs the machine on a platform, logs what it does, and leaves on disk what `status` shows.
 *
 * @param logContext kept up to date; its state is the one that the device is in before
 */
export function startDaemon(
  platform: Platform,
  settings: Settings,
  logContext: LogContext,
  log: Log,
): Daemon {
  const identify = (deviceId: string | null) => {
    logContext.deviceId ??= deviceId;
  };
  const moments = watchMoments();
  const report = (entry: LogEntry) => write(log, entry);
  const { reports, problems } = reportsTo(report, logContext, () => moments.noteLeft());
  const actor = createActor(wire(platform, settings, reports, report), optionsOf(platform));
  const writer = createStatusWriter(platform, (error) => log('debug', 'progress.unsaved', String(error), {}));
  const started = platform.monotonic();
  let position: Position = { state: logContext.state, since: platform.now(), entered: started };
  let standing: ActiveState = { place: '', since: position.since };
  const timeouts = timeoutsOf(policyOf(platform, settings));
  let breakDown: (error: unknown) => void = () => {};
  const broken = new Promise<never>((_, reject) => {
    breakDown = reject;
  });
  const settled = new Promise<'registered' | 'failed'>((resolve) => {
    actor.subscribe({
      error: breakDown,
      next(snapshot) {
        const { value, context } = snapshot;
        const isDelivered = snapshot.hasTag('delivered');
        const times = { now: platform.now(), monotonic: platform.monotonic(), started };
        const look = progressOf({ value, context, isDelivered }, position, times);
        position = look.position;
        identify(context.deviceId);
        logContext.state = position.state;
        standing = activeStateAt(value, standing, times.now);
        const progress = { ...look.progress, waitsFor: waitsAt(standing, timeouts), problems: problems() };
        writer.write(progress, look.left, logContext.deviceId !== null);
        platform.announce?.(look.progress, isDelivered);
        for (const entry of look.entries) write(log, entry);
        for (const moment of moments.next(position.state, isDelivered)) platform.onMoment?.(moment);
        if (look.settled !== null) resolve(look.settled);
      },
    });
  });
  actor.on('*', (emitted) => {
    // Events come before the snapshot's subscribers, and after the snapshot.
    identify(actor.getSnapshot().context.deviceId);
    moments.noteEmitted(emitted.type);
    write(log, entryOfEmitted(emitted));
  });
  actor.start();
  const endHeartbeat = logHeartbeats(platform, () => position, log);
  return {
    settled,
    broken,
    stop() {
      endHeartbeat();
      actor.stop();
    },
  };
}

function problemOfExport({ item, error }: ExportFailure) {
  const { code, reason, message } = error;
  return { code, reason, message: `${item} is not exported: ${message}` };
}

/** What the services report of the identity, as lines of the log; of exports also as problems for `status`. */
function reportsTo(report: (entry: LogEntry) => void, logContext: LogContext, noteLeft: () => void) {
  let problems: NonNullable<Progress['problems']> = [];
  const reports: Reports = {
    onQuarantined(error: OnboardingError) {
      logContext.deviceId ??= error.deviceId;
      report(entryOfQuarantined(error));
    },
    onLeft(reason: LeaveReason) {
      noteLeft();
      report(entryOfLeft(reason));
    },
    onReplaced(reason: ReplaceReason, deviceId: string) {
      logContext.deviceId = deviceId;
      report(entryOfReplaced(reason));
    },
    onAdopted(adopted) {
      logContext.deviceId = adopted.deviceId;
      report(entryOfAdopted(adopted));
    },
    onExportsPending(failures) {
      problems = failures.map(problemOfExport);
    },
  };
  return { reports, problems: () => problems };
}

/** XState's own clock if the platform has timers, and an inspector if it wants to hear of bugs. */
function optionsOf({ timers, onBug }: Platform) {
  return {
    ...(timers && { clock: timers as NonNullable<Parameters<typeof createActor>[1]>['clock'] & {} }),
    ...(onBug && { inspect: (inspected: InspectionEvent) => reportBug(inspected, onBug) }),
  };
}

/** Reports the error of a step that failed, if it is not of the catalogue or is INTERNAL there. */
function reportBug(inspected: InspectionEvent, onBug: (error: unknown) => void): void {
  if (inspected.type !== '@xstate.event' || !/^(xstate\.error\.actor\.|FAILED$)/.test(inspected.event.type))
    return;
  const error: unknown = inspected.event.error;
  if (!(error instanceof OnboardingError) || error.code === 'INTERNAL') onBug(error);
}
