import type { Log } from '../adapters/logger.ts';
import { currentState, isoTime } from '../services/state/deviceState.ts';
import type { Platform } from './platform.ts';
import type { Position } from './progress.ts';

/** When something happened, by the clock on the wall and by the monotonic clock; milliseconds. */
export interface Moment {
  readonly now: number;
  readonly monotonic: number;
}

const day = 86_400_000;
/** How often the clocks are looked at: a timer of a day would sleep while the device is suspended. */
export const lookEveryMs = 600_000;

/**
 * Whether a heartbeat is due. A suspended device has its time on the wall clock only, a device whose clock was set back on
 * the monotonic one only: whichever says that a day is over counts.
 */
export function isHeartbeatDue(last: Moment, at: Moment): boolean {
  return at.now - last.now >= day || at.monotonic - last.monotonic >= day;
}

interface Clock {
  readonly now: () => number;
  readonly monotonic: () => number;
  /** @returns a function that cancels the timer */
  readonly setTimer: (ms: number, call: () => void) => () => void;
}

/** Calls back once a day. @returns a function that ends it */
export function startHeartbeat({ now, monotonic, setTimer }: Clock, beat: () => void): () => void {
  const at = (): Moment => ({ now: now(), monotonic: monotonic() });
  let last = at();
  let cancel = () => {};
  const look = () => {
    cancel = setTimer(lookEveryMs, look);
    if (!isHeartbeatDue(last, at())) return;
    last = at();
    beat();
  };
  cancel = setTimer(lookEveryMs, look);
  return () => cancel();
}

/** Logs `daemon.heartbeat` once a day. @returns a function that ends it */
export function logHeartbeats(platform: Platform, position: () => Position, log: Log): () => void {
  return startHeartbeat(platform, () => {
    const { state, since: entered } = position();
    const since = isoTime(entered);
    log('info', 'daemon.heartbeat', `${state} since ${since}`, { since, notAfter: expiryOf(platform) });
    platform.onHeartbeat?.();
  });
}

/** When the device's certificate expires; null if it has none, or it cannot be read. */
function expiryOf({ directory, pki }: Platform): string | null {
  try {
    const { provisioned } = currentState(directory);
    if (provisioned === null) return null;
    return pki.parseCertificates(provisioned.certificate)[0]?.notAfter.toISOString() ?? null;
  } catch {
    return null;
  }
}
