import { spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Progress } from '../services/state/deviceState.ts';

/** Notifies the service manager, and the units that wait for this one. */
export interface Supervisor {
  /** @param isRegistered the device is registered and everything was delivered */
  announce(progress: Omit<Progress, 'history'>, isRegistered: boolean): void;
  stop(): void;
}

/**
 * systemd, where it started us: readiness once the daemon runs (never only once it is online: boot must not wait for
 * a network), the state in words, and a watchdog that is fed by the event loop alone. While the device is registered,
 * `$RUNTIME_DIRECTORY/registered` exists: `onboardd-registered.path` looks at it.
 *
 * Node has no datagram sockets of the Unix family, so systemd-notify(1) carries the messages; the unit has to say
 * `NotifyAccess=all`.
 */
export function superviseBy(environment: NodeJS.ProcessEnv): Supervisor {
  const { NOTIFY_SOCKET, RUNTIME_DIRECTORY, WATCHDOG_USEC, WATCHDOG_PID } = environment;
  const notify = NOTIFY_SOCKET ? sender() : () => undefined;
  const flag = RUNTIME_DIRECTORY ? join(RUNTIME_DIRECTORY.split(':')[0] ?? '', 'registered') : null;
  const isFed = Number(WATCHDOG_USEC) > 0 && (!WATCHDOG_PID || Number(WATCHDOG_PID) === process.pid);
  const watchdog = isFed ? setInterval(() => notify('WATCHDOG=1'), Number(WATCHDOG_USEC) / 3000) : undefined;
  watchdog?.unref();
  return {
    announce(progress, isRegistered) {
      notify('READY=1', `STATUS=${inWords(progress)}`);
      if (flag !== null) show(flag, isRegistered, progress.state === 'registered');
    },
    stop() {
      clearInterval(watchdog);
      // Whoever finds the directory after a stop must not take the device for registered.
      if (flag !== null) show(flag, false, false);
      notify('STOPPING=1');
    },
  };
}

/** One message at a time, in order. */
function sender(): (...assignments: string[]) => void {
  const waiting: string[][] = [];
  let isBusy = false;
  const next = () => {
    const assignments = waiting.shift();
    isBusy = assignments !== undefined;
    if (assignments === undefined) return;
    try {
      const child = spawn('systemd-notify', assignments, { stdio: 'ignore', timeout: 5000 });
      child.once('error', next);
      child.once('exit', next);
    } catch {
      // Out of memory, say: a message less must not end the daemon.
      setImmediate(next);
    }
  };
  return (...assignments) => {
    waiting.push(assignments);
    if (!isBusy) next();
  };
}

/** A renewal, or a file that could not be delivered, takes nothing back. */
function show(flag: string, isRegistered: boolean, isStill: boolean): void {
  try {
    if (isRegistered) writeFileSync(flag, '', { mode: 0o644 });
    else if (!isStill) rmSync(flag, { force: true });
  } catch {
    // The directory is the service manager's; without it nobody waits.
  }
}

function inWords({ state, attempt, nextRetryAt, lastError }: Omit<Progress, 'history'>): string {
  const problem = lastError === null ? '' : `: ${lastError.code}`;
  const tries = attempt > 1 || nextRetryAt !== null ? `, attempt ${attempt}` : '';
  const next = nextRetryAt === null ? '' : `, next try at ${nextRetryAt.slice(0, 19).replace('T', ' ')} UTC`;
  return `${state}${tries}${problem}${next}`;
}
