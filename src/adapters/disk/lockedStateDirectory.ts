import fs from 'node:fs';
import { describe, OnboardingError } from '../../errors/onboardingError.ts';
import type { StateDirectory } from '../../services/state/deviceState.ts';
import { isOwnFile, ownMode, provesState } from '../../services/state/ownFiles.ts';
import { type Disk, isSamePlace, makeDirectory, openStateDirectory, type Place } from './durableFile.ts';
import { lockDirectory } from './lock.ts';
import { type Look, refusalOf } from './stateFolder.ts';

export interface LockedStateDirectory {
  /**
   * Makes the directory where it is absent, locks it, opens it. Nothing, once it is claimed.
   *
   * @throws {OnboardingError} STATE_UNWRITABLE: try again, it is not there, or something else is in its place, which is
   *   left as it is; STATE_LOCKED: another daemon's, and nothing was changed
   */
  claim(): void;
  /** Claims itself at every use until it is claimed, and throws as `claim` does. */
  readonly directory: StateDirectory;
  /** Rejects with STATE_LOCKED where another daemon turns out to have it. */
  readonly taken: Promise<never>;
  release(): void;
}

/** Why a folder is not to be taken as the state directory, to follow its path; null: it may be, or is not there. */
export function refusalOfStateDirectory(folder: string, look?: Look): string | null {
  const given = (process.env.STATE_DIRECTORY ?? '').split(':');
  return refusalOf(folder, { isOwn: isOwnFile, provesState }, look, given);
}

/** @throws {OnboardingError} STATE_UNWRITABLE */
function judge(folder: string, look?: Look): void {
  const refusal = refusalOfStateDirectory(folder, look);
  if (refusal !== null) throw unwritable(folder, refusal);
}

/** @throws {OnboardingError} STATE_UNWRITABLE where it is gone */
function placeOf(folder: string, { statSync }: Look = fs): Place {
  try {
    return statSync(folder);
  } catch (error) {
    throw unwritable(folder, `is gone: ${describe(error)}`);
  }
}

function unwritable(folder: string, why: string): OnboardingError {
  return new OnboardingError('STATE_UNWRITABLE', `the state directory ${folder} ${why}`);
}

/** The state directory of one daemon at a time. It may have to wait for its disk: each use is a try. */
export function stateDirectory(
  folder: string,
  disk?: Disk & Look,
  lock = lockDirectory,
): LockedStateDirectory {
  let held: { directory: StateDirectory; unlock: () => void } | null = null;
  let tellTaken: (error: OnboardingError) => void = () => {};
  const taken = new Promise<never>((_, reject) => {
    tellTaken = reject;
  });
  // Whoever claims hears of it too.
  taken.catch(() => undefined);
  const claim = () => {
    if (held !== null) return held.directory;
    judge(folder, disk);
    try {
      makeDirectory(folder, disk);
      const place = placeOf(folder, disk);
      const unlock = lock(folder, place);
      try {
        // Locking takes a while, in which the path may have come to lead elsewhere.
        judge(folder, disk);
        if (!isSamePlace(placeOf(folder, disk), place)) throw unwritable(folder, 'is another one by now');
        held = { directory: openStateDirectory(folder, disk, ownMode, place), unlock };
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
      quarantine: (...args) => claim().quarantine(...args),
      remove: (...args) => claim().remove(...args),
    },
    taken,
    release: () => {
      held?.unlock();
      held = null;
    },
  };
}
