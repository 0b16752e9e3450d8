import { OnboardingError } from '../../errors/onboardingError.ts';
import { type DeviceState, files, newState, type StateDirectory, writeState } from './deviceState.ts';
import { isOwnFile, ownFileOf, ownFiles } from './ownFiles.ts';

const keys: readonly string[] = [files.key, files.nextKey, files.previousKey];

export interface ResetPorts {
  /** Names in the state directory */
  readonly list: () => string[];
  /** The state says from now on that a reset has begun, durably; no-op if there is none to be read. Never throws. */
  readonly mark: () => void;
  /**
   * Removes a file of the state directory, durably. No-op if it does not exist.
   *
   * @returns whether it was removed: a directory stays
   * @throws {OnboardingError} STATE_UNWRITABLE
   */
  readonly remove: (name: string) => boolean;
  /** Removes the exported files. @throws {OnboardingError} STATE_UNWRITABLE */
  readonly removeExports: () => void;
  /** Replaces the state by one that holds only the device id; null: that is forgotten too. @throws {OnboardingError} STATE_UNWRITABLE */
  readonly keepId: (() => void) | null;
}

export interface ForgetPorts extends Pick<ResetPorts, 'list' | 'remove' | 'removeExports'> {
  readonly directory: StateDirectory;
  /** @returns the device id as far as it can be read, from the state or beside it */
  readonly deviceId: () => string | null;
}

/**
 * Forgets the identity in a state directory.
 *
 * @param state as far as it can be read
 * @throws {OnboardingError} STATE_UNWRITABLE; STATE_CORRUPT: there is an identity, and the id that is to be kept cannot
 *   be read
 */
export function forget(ports: ForgetPorts, state: DeviceState | null, keepsId: boolean): void {
  const { directory } = ports;
  const kept = keepsId ? keptState(ports, state) : null;
  reset({
    ...ports,
    mark() {
      try {
        if (state !== null) writeState(directory, { ...state, resetting: true });
      } catch {
        // The disk is full, say: removing must be possible then too.
      }
    },
    keepId:
      kept &&
      (() => {
        directory.refresh(files.deviceId, kept.deviceId, 0o644);
        writeState(directory, kept);
      }),
  });
}

/** @returns null if there is no id to keep. @throws {OnboardingError} STATE_CORRUPT */
function keptState({ list, deviceId }: ForgetPorts, state: DeviceState | null): DeviceState | null {
  if (state !== null) return stateWithId(state);
  const id = deviceId();
  // It had an identity, which may have been registered.
  if (id !== null) return { ...newState(id), mayBeRegistered: true };
  if (filesToRemove(list(), false).length === 0) return null;
  throw new OnboardingError(
    'STATE_CORRUPT',
    'the device id cannot be read, so that none can be kept; nothing was changed',
  );
}

/**
 * The state is marked first: a start refuses what a reset left half done. Then the keys go, so that an interruption never
 * leaves a key beside a state that does not know it. The state goes last: it has the mark, and the only list of the
 * exported files, so that running an interrupted reset again completes it. Files of other programs stay.
 */
export function reset({ list, mark, remove, removeExports, keepId }: ResetPorts): void {
  const isKey = (name: string) => keys.includes(ownFileOf(name) ?? '');
  mark();
  // After the mark, which leaves a temporary file if the disk fails.
  const found = filesToRemove(list(), keepId !== null);
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
 */
export function stateWithId(before: DeviceState): DeviceState {
  const { deviceId, machine, registration, formerRegistration, request, mayBeRegistered } = before;
  const wasHeard = registration !== null || formerRegistration !== null || request !== null;
  return { ...newState(deviceId), machine, mayBeRegistered: mayBeRegistered || wasHeard };
}

function rank(name: string): number {
  return ownFiles.indexOf(ownFileOf(name) ?? '');
}
