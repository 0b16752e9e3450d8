import { files } from './deviceState.ts';
import { isOwnFile, ownFileOf, ownFiles } from './ownFiles.ts';

export interface ResetPorts {
  /** Names in the state directory */
  readonly list: () => string[];
  /**
   * Removes a file of the state directory, durably. No-op if it does not exist.
   *
   * @returns whether it was removed: a directory stays
   * @throws {OnboardingError} STATE_UNWRITABLE
   */
  readonly remove: (name: string) => boolean;
  /** Removes the exported files. @throws {OnboardingError} STATE_UNWRITABLE */
  readonly removeExports: () => void;
}

/**
 * Forgets the identity. The key goes first, so that an interruption never leaves a key beside a state that does not
 * know it. The exported files go before the state, which has the only list of them: running an interrupted reset again
 * completes it. Files of other programs stay.
 */
export function reset({ list, remove, removeExports }: ResetPorts): void {
  const found = list().filter(isOwnFile);
  const ordered = [...found].sort((a, b) => rank(a) - rank(b));
  const isKey = (name: string) => ownFileOf(name) === files.key;
  for (const name of ordered.filter(isKey)) remove(name);
  removeExports();
  for (const name of ordered.filter((one) => !isKey(one))) remove(name);
}

function rank(name: string): number {
  return ownFiles.indexOf(ownFileOf(name) ?? '');
}
