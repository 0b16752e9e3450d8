import type { StateValue } from 'xstate';
import type { StateName } from '../events.ts';
import type { Context } from '../machines/contracts.ts';
import { isoTime, type Progress, type Visit } from '../services/state/deviceState.ts';
import { entriesOfTransition, type LogEntry } from './transitionLog.ts';

/** What matters here of a snapshot of the machine. */
export interface Observed {
  readonly value: StateValue;
  readonly context: Pick<Context, 'alias' | 'attempt' | 'failure' | 'nextRetryAt'>;
  /** The device is registered and everything was delivered. */
  readonly isDelivered: boolean;
}

/** Where the device stands, and since when. */
export interface Position {
  readonly state: StateName;
  /** Milliseconds since 1970 */
  readonly since: number;
  /** The same moment by the monotonic clock, milliseconds */
  readonly entered: number;
}

export interface Times {
  /** Milliseconds since 1970 */
  readonly now: number;
  /** Milliseconds that no clock step changes */
  readonly monotonic: number;
  /** When the daemon started, by the monotonic clock */
  readonly started: number;
}

export interface Look {
  readonly position: Position;
  /** What `status` shows of it; the history is kept by who writes it */
  readonly progress: Omit<Progress, 'history'>;
  /** The state that was left; null: still the same one */
  readonly left: Visit | null;
  readonly entries: readonly LogEntry[];
  /** The device is registered and everything was delivered, or it failed; null: neither yet */
  readonly settled: 'registered' | 'failed' | null;
}

/** What a snapshot says of the device, given where it stood at the one before. */
export function progressOf(observed: Observed, previous: Position, times: Times): Look {
  const { context, isDelivered } = observed;
  const { attempt, failure, nextRetryAt, alias } = context;
  const to = stateOf(observed.value);
  const isSame = to === previous.state;
  const position = isSame ? previous : { state: to, since: times.now, entered: times.monotonic };
  const durationMs = times.monotonic - previous.entered;
  const uptimeMs = times.monotonic - times.started;
  return {
    position,
    progress: {
      state: to,
      since: isoTime(position.since),
      attempt,
      nextRetryAt: nextRetryAt === null ? null : isoTime(nextRetryAt),
      lastError: failure && lastErrorOf(failure),
    },
    left: isSame ? null : { state: previous.state, at: isoTime(previous.since), durationMs },
    entries: isSame
      ? []
      : entriesOfTransition({ from: previous.state, to, durationMs, uptimeMs, alias, failure }),
    settled: to === 'failed' ? 'failed' : isDelivered ? 'registered' : null,
  };
}

/** The top level of the machine. */
function stateOf(value: StateValue): StateName {
  const [state] = typeof value === 'string' ? [value] : Object.keys(value);
  return state as StateName;
}

function lastErrorOf({ code, reason, message, at }: NonNullable<Context['failure']>): Progress['lastError'] {
  return { code, reason, message, at: isoTime(at) };
}
