import { type Disk, makeDirectory, openStateDirectory } from './adapters/files.ts';
import { lockDirectory } from './adapters/lock.ts';
import { OnboardingError } from './errors.ts';
import type { StateDirectory } from './services/deviceState.ts';

export interface Claimable {
  /**
   * Makes the directory where it is absent, locks it, opens it. Nothing, once it is claimed.
   *
   * @throws {OnboardingError} STATE_UNWRITABLE: try again; STATE_LOCKED: another daemon's, and nothing was changed
   */
  claim(): void;
  /** Claims itself at every use until it is claimed, and throws as `claim` does. */
  readonly directory: StateDirectory;
  /** Rejects with STATE_LOCKED where another daemon turns out to have it. */
  readonly taken: Promise<never>;
  release(): void;
}

/** The state directory of one daemon at a time. It may have to wait for its disk: each use is a try. */
export function stateDirectory(folder: string, disk?: Disk, lock = lockDirectory): Claimable {
  let held: { directory: StateDirectory; unlock: () => void } | null = null;
  let tellTaken: (error: OnboardingError) => void = () => {};
  const taken = new Promise<never>((_, reject) => {
    tellTaken = reject;
  });
  // Whoever claims hears of it too.
  taken.catch(() => undefined);
  const claim = () => {
    if (held !== null) return held.directory;
    try {
      makeDirectory(folder, disk);
      const unlock = lock(folder);
      try {
        held = { directory: openStateDirectory(folder, disk), unlock };
      } finally {
        if (held === null) unlock();
      }
      return held.directory;
    } catch (error) {
      if (error instanceof OnboardingError && error.code === 'STATE_LOCKED') tellTaken(error);
      throw error;
    }
  };
  return {
    claim,
    directory: {
      read: (...args) => claim().read(...args),
      write: (...args) => claim().write(...args),
      refresh: (...args) => claim().refresh(...args),
      restrict: (...args) => claim().restrict(...args),
      setAside: (...args) => claim().setAside(...args),
    },
    taken,
    release: () => {
      held?.unlock();
      held = null;
    },
  };
}
