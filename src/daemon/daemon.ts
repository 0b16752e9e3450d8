import { createActor } from 'xstate';
import type { Log } from '../adapters/logger.ts';
import type { StateName } from '../events.ts';
import { type Settings, wire } from './actors.ts';
import { watchMoments } from './moments.ts';
import type { Platform } from './platform.ts';
import { type Position, progressOf } from './progress.ts';
import { createStatusWriter } from './statusWriter.ts';
import { entryOfEmitted, entryOfLeft, entryOfQuarantined, write } from './transitionLog.ts';

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
  const machine = wire(platform, settings, {
    onQuarantined(error) {
      identify(error.deviceId);
      write(log, entryOfQuarantined(error));
    },
    onLeft(reason) {
      moments.noteLeft();
      write(log, entryOfLeft(reason));
    },
  });
  const actor = createActor(machine, clockOf(platform));
  const writer = createStatusWriter(platform, (error) => log('debug', 'progress.unsaved', String(error), {}));
  const started = platform.monotonic();
  let position: Position = { state: logContext.state, since: platform.now(), entered: started };
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
        writer.write(look.progress, look.left, logContext.deviceId !== null);
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
    if (emitted.type === 'certificate.renewed') moments.noteRenewal();
    write(log, entryOfEmitted(emitted));
  });
  actor.start();
  return { settled, broken, stop: () => actor.stop() };
}

function clockOf({ timers }: Platform) {
  return timers && { clock: timers as NonNullable<Parameters<typeof createActor>[1]>['clock'] & {} };
}
