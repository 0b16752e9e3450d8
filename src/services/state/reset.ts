import { files } from './deviceState.ts';
import { isOwnFile, ownFileOf, ownFiles } from './ownFiles.ts';

export interface ResetPorts {
  /** Names in the state directory */
  readonly list: () => string[];
  /**
   * Removes a file of the state directory, durably; one that is absent is none.
   *
   * @returns whether it went: a directory stays
   * @throws {OnboardingError} STATE_UNWRITABLE
   */
  readonly remove: (name: string) => boolean;
  /** Removes what was exported to other places. @throws {OnboardingError} STATE_UNWRITABLE */
  readonly removeExports: () => void;
}

/**
 * Forgets the identity. The key goes first: whatever interrupts this, no key is left beside a state that does not
 * know it. The exported files go before the state, which alone knows them all: a reset that was interrupted finishes
 * when it is run again. Files that are not onboardd's own stay.
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
