import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Progress } from '../services/state/deviceState.ts';
import { type Messages, messagesTo } from './systemdMessages.ts';

/** Notifications to the service manager and to units that wait for this one. */
export interface Supervisor {
  /** @param isRegistered the device is registered and all files are exported */
  announce(progress: Omit<Progress, 'history'>, isRegistered: boolean): void;
  /** The configuration is being read again: `systemctl reload` waits for `reloaded` (`Type=notify-reload`). */
  reloading(): void;
  reloaded(): void;
  stop(): void;
}

/**
 * Notifies systemd, if it started this process: readiness as soon as the daemon runs (boot must not wait for a network),
 * the state in words, and a watchdog that only the event loop feeds. While the device is registered,
 * `$RUNTIME_DIRECTORY/registered` exists, which `onboardd-registered.path` watches.
 *
 * @param failed called with the reason if the service manager cannot be told anything, once until it can
 * @param given what carries the messages; null: what the environment has
 */
export function superviseBy(
  environment: NodeJS.ProcessEnv,
  failed: (cause: string) => void,
  given: Messages | null = null,
): Supervisor {
  let isStopping = false;
  // Stopping a service ends its children, too: a message that they did not deliver is not an error.
  const tell = (cause: string) => isStopping || failed(cause);
  const messages = given ?? (environment.NOTIFY_SOCKET ? messagesTo(environment, tell) : null);
  const { RUNTIME_DIRECTORY, WATCHDOG_USEC, WATCHDOG_PID } = environment;
  const notify = (...assignments: string[]) => messages?.send(...assignments);
  const flag = RUNTIME_DIRECTORY ? join(RUNTIME_DIRECTORY.split(':')[0] ?? '', 'registered') : null;
  const isFed = Number(WATCHDOG_USEC) > 0 && (!WATCHDOG_PID || Number(WATCHDOG_PID) === process.pid);
  const watchdog = isFed ? setInterval(() => notify('WATCHDOG=1'), Number(WATCHDOG_USEC) / 3000) : undefined;
  watchdog?.unref();
  let isReloading = false;
  return {
    announce(progress, isRegistered) {
      notify(...(isReloading ? [] : ['READY=1']), `STATUS=${inWords(progress)}`);
      if (flag !== null) show(flag, isRegistered, progress.state === 'registered');
    },
    reloading() {
      if (!messages?.areDirect) return;
      isReloading = true;
      // CLOCK_MONOTONIC, which tells the service manager that this is later than its signal.
      notify('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
    },
    reloaded() {
      if (!isReloading) return;
      isReloading = false;
      notify('READY=1');
    },
    stop() {
      isStopping = true;
      clearInterval(watchdog);
      // Whoever finds the directory after a stop must not take the device for registered.
      if (flag !== null) show(flag, false, false);
      notify('STOPPING=1');
    },
  };
}

/** A renewal or a failed export does not remove the file again. */
function show(flag: string, isRegistered: boolean, isStill: boolean): void {
  try {
    if (isRegistered) writeFileSync(flag, '', { mode: 0o644 });
    else if (!isStill) rmSync(flag, { force: true });
  } catch {
    // The service manager creates the directory; without it no unit waits.
  }
}

function inWords({ state, attempt, nextRetryAt, lastError }: Omit<Progress, 'history'>): string {
  const problem = lastError === null ? '' : `: ${lastError.code}`;
  const tries = attempt > 1 || nextRetryAt !== null ? `, attempt ${attempt}` : '';
  const next =
    nextRetryAt === null ? '' : `, next attempt at ${nextRetryAt.slice(0, 19).replace('T', ' ')} UTC`;
  return `${state}${tries}${problem}${next}`;
}
