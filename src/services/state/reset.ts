import { type DeviceState, files, newState } from './deviceState.ts';
import { isOwnFile, ownFileOf, ownFiles } from './ownFiles.ts';

export interface ResetPorts {
  /** Names in the state directory */
  readonly list: () => string[];
  /** The state says from now on that a reset has begun, durably; no-op if there is none to be read. Never throws. */
  readonly mark: () => void;
  /**
   * Removes a file of the state directory, durably; one that is absent is none.
   *
   * @returns whether it went: a directory stays
   * @throws {OnboardingError} STATE_UNWRITABLE
   */
  readonly remove: (name: string) => boolean;
  /** Removes what was exported to other places. @throws {OnboardingError} STATE_UNWRITABLE */
  readonly removeExports: () => void;
  /** Replaces the state by one that holds only the device id; null: that is forgotten too. @throws {OnboardingError} STATE_UNWRITABLE */
  readonly keepId: (() => void) | null;
}

/**
 * Forgets the identity. The state is marked first: a start refuses what a reset left half done. Then the key goes, so
 * that no key is left beside a state that does not know it; the exported files go before the state, which alone knows
 * them all. Whatever interrupts this, it finishes when it is run again. Files that are not onboardd's own stay.
 */
export function reset({ list, mark, remove, removeExports, keepId }: ResetPorts): void {
  const found = filesToRemove(list(), keepId !== null);
  const isKey = (name: string) => ownFileOf(name) === files.key;
  mark();
  for (const name of found.filter(isKey)) remove(name);
  removeExports();
  for (const name of found.filter((one) => !isKey(one))) remove(name);
  keepId?.();
}

/** Of the names in a state directory those that a reset removes, in its order. */
export function filesToRemove(names: readonly string[], keepsId: boolean): string[] {
  const kept: readonly string[] = keepsId ? [files.state, files.deviceId] : [];
  return names.filter((name) => isOwnFile(name) && !kept.includes(name)).sort((a, b) => rank(a) - rank(b));
}

/**
 * A device that keeps only its id: the next start makes a fresh key. "Already registered" means itself if it was, or may
 * have been: the fleet knows the id until somebody takes it out there.
 *
 * @param now milliseconds since 1970
 */
export function stateWithId(before: DeviceState, now: number): DeviceState {
  const { deviceId, machine, registration, formerRegistration, request, mayBeRegistered } = before;
  const wasHeard = registration !== null || formerRegistration !== null || request !== null;
  return { ...newState(deviceId, now), machine, mayBeRegistered: mayBeRegistered || wasHeard };
}

function rank(name: string): number {
  return ownFiles.indexOf(ownFileOf(name) ?? '');
}
