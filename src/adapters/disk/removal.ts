import { lstatSync, type Stats } from 'node:fs';
import { sha256 } from './digest.ts';
import { type Owner, readOwn, removeDurably } from './durableFile.ts';

/** A file that is to go. */
export interface Removal {
  readonly path: string;
  /**
   * Whose file alone, and with whose rights: root must not remove whatever a service's user writes into its state, nor
   * what the path leads to once it was looked at; null: anybody's, with our own
   */
  readonly user: Owner | null;
  /** SHA-256 of the contents that are ours; null: it is ours whatever it holds */
  readonly contents: readonly string[] | null;
}

/** @returns why the file stays; null: it can go; undefined: there is none */
export function reasonToLeave({ path, user, contents }: Removal): string | null | undefined {
  const at = entry(path);
  if (at === undefined) return undefined;
  if (at.isDirectory()) return 'it is a directory';
  if (user !== null && at.uid !== user.uid) return 'it is owned by another user than the state directory';
  // A link in the place of a file goes by itself: what it leads to stays.
  if (contents === null || at.isSymbolicLink()) return null;
  return contents.includes(digestOf(path, user)) ? null : 'its content is not what onboardd wrote there';
}

/**
 * Removes a file or a link, durably, unless there is a reason to leave it.
 *
 * @returns as `reasonToLeave`; null: it is gone
 * @throws {OnboardingError} STATE_UNWRITABLE
 */
export function removeUnlessLeft(removal: Removal): string | null | undefined {
  const { path, user } = removal;
  const reason = reasonToLeave(removal);
  if (reason !== null) return reason;
  if (user === null) removeDurably(path);
  else if (!removeAs(user, path)) return 'the owner of the state directory may not remove it';
  return null;
}

/** @returns the empty string if it cannot be read */
function digestOf(path: string, user: Owner | null): string {
  let digest = '';
  const read = () => {
    digest = sha256(readOwn(path) ?? '');
  };
  try {
    if (user === null) read();
    else withRightsOf(user, read);
  } catch {
    // Whoever may not read it did not write it.
  }
  return digest;
}

/** @returns whether the user may remove it, and it is gone. @throws {OnboardingError} STATE_UNWRITABLE */
function removeAs(user: Owner, path: string): boolean {
  try {
    withRightsOf(user, () => removeDurably(path));
  } catch (error) {
    const { code } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM') throw error;
  }
  return entry(path) === undefined;
}

/** Only root can, and gets its own rights back. @throws {Error} EPERM where the system lets root be nobody else */
function withRightsOf({ uid, gid }: Owner, call: () => void): void {
  const [user, group, groups] = [process.geteuid?.(), process.getegid?.(), process.getgroups?.()];
  if (user === undefined || group === undefined || groups === undefined) return;
  try {
    process.setgroups?.([gid]);
    process.setegid?.(gid);
    process.seteuid?.(uid);
    call();
  } finally {
    process.seteuid?.(user);
    process.setegid?.(group);
    process.setgroups?.(groups);
  }
}

function entry(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch {
    // The folder is gone: there is nothing to remove in it.
    return undefined;
  }
}
