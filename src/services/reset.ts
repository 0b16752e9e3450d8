import { files } from './deviceState.ts';

export interface ResetPorts {
  /** Names of the files in the state directory */
  readonly list: () => string[];
  /** Removes a file of the state directory, durably; one that is absent is none. @throws STATE_UNWRITABLE */
  readonly remove: (name: string) => void;
}

/**
 * Forgets the identity. The key goes first: whatever interrupts this, no key is left beside a state that does not
 * know it. Files that are not onboardd's own stay.
 *
 * @returns the names of the files that were removed
 */
export function reset({ list, remove }: ResetPorts): string[] {
  const own = [files.key, ...Object.values(files).filter((name) => name !== files.key)];
  const mine = (name: string) => own.some((file) => isOf(file, name));
  const found = list().filter(mine);
  const ordered = [...found].sort((a, b) => rank(own, a) - rank(own, b));
  for (const name of ordered) remove(name);
  return ordered;
}

/** The file itself, one that was set aside, or what an interrupted write left. */
function isOf(file: string, name: string): boolean {
  return (
    name === file ||
    name === `.${file}.tmp` ||
    new RegExp(`^${file.replace('.', '\\.')}\\.damaged-\\d+$`).test(name)
  );
}

function rank(own: readonly string[], name: string): number {
  return own.findIndex((file) => isOf(file, name));
}
