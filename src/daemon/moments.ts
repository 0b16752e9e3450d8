import type { StateName } from '../events.ts';
import type { EmittedEvent } from '../machines/contracts.ts';

/** What happened to the device that somebody outside wants to hear of. `left`: it is not registered any more. */
export type Moment = 'registered' | 'renewed' | 'failed' | 'left';

export interface Moments {
  /** Another certificate is delivered next: a renewed one, or again the one before. */
  noteEmitted(type: EmittedEvent['type']): void;
  /** The facts on disk say that the device is not registered any more. */
  noteLeft(): void;
  /** @param isDelivered the device is registered and everything was delivered */
  next(state: StateName, isDelivered: boolean): Moment[];
}

/**
 * Which moments a sequence of snapshots holds. `registered` and `renewed` come once the files are where they belong,
 * `left` once the device is in a state that takes it to a new registration, and not for a mere look at the facts.
 */
export function watchMoments(): Moments {
  let isRenewed = false;
  let isRegistered = false;
  let before: StateName = 'idle';
  return {
    noteEmitted(type) {
      isRenewed ||= type === 'certificate.renewed' || type === 'certificate.rolled-back';
    },
    noteLeft() {
      isRegistered = true;
    },
    next(state, isDelivered) {
      const moments: Moment[] = [];
      const hasFailed = state === 'failed' && before !== 'failed';
      before = state;
      if (state === 'registered') {
        if (!isDelivered) return moments;
        if (!isRegistered) moments.push('registered');
        else if (isRenewed) moments.push('renewed');
        isRegistered = true;
        isRenewed = false;
      } else if (state !== 'idle' && isRegistered) {
        moments.push('left');
        isRegistered = false;
      }
      if (hasFailed) moments.push('failed');
      return moments;
    },
  };
}
