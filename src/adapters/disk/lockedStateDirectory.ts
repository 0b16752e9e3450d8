import fs from 'node:fs';
import { describe, OnboardingError } from '../../errors/onboardingError.ts';
import type { StateDirectory } from '../../services/state/deviceState.ts';
import { isOwnFile, ownMode, provesState } from '../../services/state/ownFiles.ts';
import { type Disk, isSamePlace, makeDirectory, openStateDirectory, type Place } from './durableFile.ts';
import { lockDirectory } from './lock.ts';
import { type Look, refusalOf } from './stateFolder.ts';

export interface LockedStateDirectory {
  /**
   * Creates the directory if necessary, locks it and opens it. No-op if it is claimed already.
   *
   * @throws {OnboardingError} STATE_UNWRITABLE: try again later, it does not exist, or its place is taken by something else,
   *   which stays unchanged; STATE_LOCKED: another daemon uses it, and nothing was changed
   */
  claim(): void;
  /** Claims itself on use if necessary, and throws as `claim` does. */
  readonly directory: StateDirectory;
  /** Rejects with STATE_LOCKED if another daemon has locked it. */
  readonly taken: Promise<never>;
  release(): void;
}

/** Why a folder cannot be the state directory, to follow its path in a message; null: it can be, or does not exist. */
export function refusalOfStateDirectory(folder: string, look?: Look): string | null {
  const given = (process.env.STATE_DIRECTORY ?? '').split(':');
  return refusalOf(folder, { isOwn: isOwnFile, provesState }, look, given);
}

/** @throws {OnboardingError} STATE_UNWRITABLE */
function judge(folder: string, look?: Look): void {
  const refusal = refusalOfStateDirectory(folder, look);
  if (refusal !== null) throw unwritable(folder, refusal);
}

/** @throws {OnboardingError} STATE_UNWRITABLE if it does not exist */
function placeOf(folder: string, { statSync }: Look = fs): Place {
  try {
    return statSync(folder);
  } catch (error) {
    throw unwritable(folder, `cannot be read: ${describe(error)}`);
  }
}

/** @throws {OnboardingError} STATE_UNWRITABLE */
function isEmptyFolder(folder: string, { readdirSync }: Look = fs): boolean {
  try {
    return readdirSync(folder).length === 0;
  } catch (error) {
    throw unwritable(folder, `cannot be read: ${describe(error)}`);
  }
}

function unwritable(folder: string, why: string): OnboardingError {
  return new OnboardingError('STATE_UNWRITABLE', `the state directory ${folder} ${why}`);
}

/** The state directory of one daemon at a time. Its disk may be missing at first: each use is an attempt. */
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
  // `claim` reports it, too.
  taken.catch(() => undefined);
  const claim = () => {
    if (held !== null) return held.directory;
    judge(folder, disk);
    try {
      const isNew = makeDirectory(folder, disk);
      const place = placeOf(folder, disk);
      const unlock = lock(folder, place);
      try {
        // The path may lead elsewhere by the time of the lock.
        judge(folder, disk);
        if (!isSamePlace(placeOf(folder, disk), place))
          throw unwritable(folder, 'was replaced by another directory');
        // Before the lock another daemon may have written to it, and died before a sync.
        const isEmpty = isNew && isEmptyFolder(folder, disk);
        held = { directory: openStateDirectory(folder, disk, ownMode, { ...place, isNew: isEmpty }), unlock };
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
      settle: () => claim().settle(),
      note: (...args) => claim().note(...args),
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
