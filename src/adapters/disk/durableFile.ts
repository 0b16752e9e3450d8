import fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, OnboardingError } from '../../errors/onboardingError.ts';
import type { StateDirectory } from '../../services/state/deviceState.ts';

/** The calls of node:fs that durability rests on, so that a simulated disk can stand in for them. */
export type Disk = Pick<
  typeof fs,
  | 'openSync'
  | 'writeSync'
  | 'fsyncSync'
  | 'closeSync'
  | 'renameSync'
  | 'unlinkSync'
  | 'readFileSync'
  | 'mkdirSync'
  | 'fchmodSync'
  | 'fchownSync'
  | 'fstatSync'
  | 'existsSync'
>;

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = fs.constants;

/** What a folder is known by, whatever its path leads to by now. */
export interface Place {
  readonly dev: number;
  readonly ino: number;
}

export function isSamePlace(a: Place, b: Place): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Replaces a file atomically and durably: every byte written, the file synced, renamed, the folder synced. After a
 * power cut at any moment the old content or the new one is there, whole. The usual libraries were not used: two of
 * them truncate on a nearly full disk and report success, and neither syncs the folder (docs/reliability.md).
 *
 * @param owner whose the file shall be; null: whoever writes it
 * @throws {OnboardingError} STATE_UNWRITABLE; the old file then stands
 */
export function writeDurably(
  path: string,
  text: string,
  mode: number,
  disk: Disk = fs,
  owner: Owner | null = null,
): void {
  const folder = dirname(path);
  // One name for each file: what a crash leaves is overwritten by the next write, and nothing piles up.
  const temporary = join(folder, `.${basename(path)}.tmp`);
  attempt('write', path, () => {
    try {
      removeIfThere(temporary, disk);
      const file = disk.openSync(temporary, 'wx', mode);
      try {
        if (owner !== null) disk.fchownSync(file, owner.uid, owner.gid);
        disk.fchmodSync(file, mode);
        writeAll(file, Buffer.from(text, 'utf8'), disk);
        disk.fsyncSync(file);
      } finally {
        disk.closeSync(file);
      }
      disk.renameSync(temporary, path);
    } catch (error) {
      try {
        removeIfThere(temporary, disk);
      } catch {
        // The first error says more.
      }
      throw error;
    }
    syncFolder(folder, disk);
  });
}

/** @returns the text, or null where there is no such file. @throws {OnboardingError} STATE_UNWRITABLE for all else */
export function readText(path: string, disk: Disk = fs): string | null {
  return attempt('read', path, () => {
    try {
      return disk.readFileSync(path, 'utf8');
    } catch (error) {
      if (isAbsent(error)) return null;
      throw error;
    }
  });
}

/**
 * Reads a file of the state directory: a regular file, never what a link points at, and never waiting for a pipe.
 *
 * @param mode that the file shall have, whoever loosened or tightened it; null: whatever it has
 * @returns the text, or null where there is no such file
 * @throws {OnboardingError} STATE_UNWRITABLE for all else
 */
export function readOwn(path: string, disk: Disk = fs, mode: number | null = null): string | null {
  return attempt('read', path, () =>
    withFile(path, disk, (file) => {
      if (mode !== null) setMode(path, file, mode, disk);
      return disk.readFileSync(file, 'utf8');
    }),
  );
}

/** As `readOwn`, with whose the file is that was read. @throws {OnboardingError} STATE_UNWRITABLE */
export function readOwned(path: string, disk: Disk = fs): { text: string; owner: Owner } | null {
  return attempt('read', path, () =>
    withFile(path, disk, (file) => {
      const { uid, gid } = disk.fstatSync(file);
      return { text: disk.readFileSync(file, 'utf8'), owner: { uid, gid } };
    }),
  );
}

/**
 * Writes durably where the content differs, making the folder if need be, and sets the mode back where that alone
 * differs. A link in the place of the file, or another name of a file, is replaced; what it leads to stays as it is.
 *
 * @throws {OnboardingError} STATE_UNWRITABLE
 */
export function refreshFile(
  path: string,
  text: string,
  mode: number,
  disk: Disk = fs,
  owner: Owner | null = null,
): void {
  const isAsWanted = (file: number) =>
    disk.readFileSync(file, 'utf8') === text && setMode(path, file, mode, disk);
  if (attempt('read', path, () => unlessLink(() => withFile(path, disk, isAsWanted)))) return;
  attempt('make the folder of', path, () => makeFolder(dirname(path), 0o755, disk));
  writeDurably(path, text, mode, disk, owner);
}

/** Makes the state directory durably, where it is absent. @throws {OnboardingError} STATE_UNWRITABLE */
export function makeDirectory(folder: string, disk: Disk = fs): void {
  attempt('make', folder, () => makeFolder(folder, 0o700, disk));
}

/**
 * The state directory, which is there.
 *
 * @param modeOf the mode that a file shall have whenever it is read; null: whatever it has
 * @param place the folder that was judged: no other is opened in its place; null: whichever is there
 * @throws {OnboardingError} STATE_UNWRITABLE
 */
export function openStateDirectory(
  folder: string,
  disk: Disk = fs,
  modeOf: (name: string) => number | null = () => null,
  place: Place | null = null,
): StateDirectory {
  const owner = attempt('open', folder, () => takeFolder(folder, disk, place));
  const pathOf = (name: string) => join(folder, name);
  /** A process that was killed, or a sync that failed, may have left names that a power cut would take back. */
  let isDurable = false;
  /** Whatever is read here is acted upon, so it has to be durable first. */
  const settled = <T>(call: () => T): T => {
    if (!isDurable) attempt('sync', folder, () => syncFolder(folder, disk));
    isDurable = true;
    return call();
  };
  const changed = <T>(call: () => T): T =>
    settled(() => {
      isDurable = false;
      const result = call();
      isDurable = true;
      return result;
    });
  return {
    read: (name) => settled(() => readOwn(pathOf(name), disk, modeOf(name))),
    write: (name, text, mode) => changed(() => writeDurably(pathOf(name), text, mode, disk, owner)),
    refresh: (name, text, mode) => changed(() => refreshFile(pathOf(name), text, mode, disk, owner)),
    restrict: (name, mode) => restoreMode(pathOf(name), mode, disk),
    quarantine: (name) =>
      changed(() =>
        attempt('set aside', pathOf(name), () => {
          const free = freeName(folder, name, disk);
          disk.renameSync(pathOf(name), join(folder, free));
          syncFolder(folder, disk);
          return free;
        }),
      ),
    remove: (name) => changed(() => removeDurably(pathOf(name), disk)),
  };
}

/**
 * Makes the folder its owner's alone, where that is ours to do.
 *
 * @returns whose files root shall leave in it, so that the service can read them; null: nothing is to be changed
 */
function takeFolder(folder: string, disk: Disk, place: Place | null): Owner | null {
  const descriptor = disk.openSync(folder, O_RDONLY | O_DIRECTORY);
  try {
    const at = disk.fstatSync(descriptor);
    if (place !== null && !isSamePlace(at, place)) throw new Error('another folder is in its place');
    const { mode, uid, gid } = at;
    try {
      if ((mode & 0o077) !== 0) disk.fchmodSync(descriptor, mode & 0o700);
    } catch {
      // Another owner's folder, or a disk that is read-only: reading and writing in it tell whether that matters.
    }
    return process.geteuid?.() !== 0 || uid === 0 ? null : { uid, gid };
  } finally {
    disk.closeSync(descriptor);
  }
}

/** Removes a file durably; one that is absent is none. @throws {OnboardingError} STATE_UNWRITABLE */
export function removeDurably(path: string, disk: Disk = fs): void {
  attempt('remove', path, () => {
    removeIfThere(path, disk);
    if (disk.existsSync(dirname(path))) syncFolder(dirname(path), disk);
  });
}

/** Sets a file's mode back, where that is ours to do. */
function restoreMode(path: string, mode: number, disk: Disk): void {
  try {
    withFile(path, disk, (file) => setMode(path, file, mode, disk));
  } catch {
    // Reading and writing it tell whether that matters.
  }
}

/** @returns false where it is not ours to set, so that only a new file in its place gets the mode */
function setMode(path: string, file: number, mode: number, disk: Disk): boolean {
  try {
    const at = disk.fstatSync(file);
    if ((at.mode & 0o7777) === mode) return true;
    if (!isOurs(path, at, disk)) return false;
    disk.fchmodSync(file, mode);
    return true;
  } catch (error) {
    // A disk that is read-only keeps the modes that it has.
    return codeOf(error) !== 'EPERM';
  }
}

/** Root could set any file's mode: another's, which has a second name in the state directory, is to keep it. */
function isOurs(path: string, { nlink, uid }: fs.Stats, disk: Disk): boolean {
  if (nlink > 1) return false;
  return uid === 0 || uid === process.geteuid?.() || uid === ownerOfFolder(dirname(path), disk);
}

function ownerOfFolder(folder: string, disk: Disk): number {
  const descriptor = disk.openSync(folder, O_RDONLY | O_DIRECTORY);
  try {
    return disk.fstatSync(descriptor).uid;
  } finally {
    disk.closeSync(descriptor);
  }
}

/** Opens a regular file for reading. @returns what `use` made of it; null where there is none */
function withFile<T>(path: string, disk: Disk, use: (file: number) => T): T | null {
  let file: number;
  try {
    file = disk.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if (isAbsent(error)) return null;
    if (codeOf(error) === 'ELOOP') throw new LinkError('it is a symbolic link, and none is followed');
    throw error;
  }
  try {
    if (!disk.fstatSync(file).isFile()) throw new Error('it is no regular file');
    return use(file);
  } finally {
    disk.closeSync(file);
  }
}

class LinkError extends Error {}

/** @returns null for a link too */
function unlessLink<T>(call: () => T): T | null {
  try {
    return call();
  } catch (error) {
    if (error instanceof LinkError) return null;
    throw error;
  }
}

function writeAll(file: number, bytes: Buffer, disk: Disk): void {
  let written = 0;
  while (written < bytes.length) {
    const more = disk.writeSync(file, bytes, written, bytes.length - written);
    if (more <= 0) throw new Error('the disk took no more bytes');
    written += more;
  }
}

/** Makes a folder durably, and those above it. Node's own recursive mkdir never returns below `/proc`. */
function makeFolder(folder: string, mode: number, disk: Disk): void {
  if (disk.existsSync(folder)) return;
  makeFolder(dirname(folder), 0o755, disk);
  disk.mkdirSync(folder, { mode });
  syncFolder(dirname(folder), disk);
}

function syncFolder(folder: string, disk: Disk): void {
  const descriptor = disk.openSync(folder, 'r');
  try {
    disk.fsyncSync(descriptor);
  } finally {
    disk.closeSync(descriptor);
  }
}

function removeIfThere(path: string, disk: Disk): void {
  try {
    disk.unlinkSync(path);
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
}

function freeName(folder: string, name: string, disk: Disk): string {
  for (let number = 1; ; number++) {
    const candidate = `${name}.damaged-${number}`;
    if (!disk.existsSync(join(folder, candidate))) return candidate;
  }
}

function isAbsent(error: unknown): boolean {
  return codeOf(error) === 'ENOENT';
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null)?.code;
}

function attempt<T>(action: string, path: string, call: () => T): T {
  try {
    return call();
  } catch (cause) {
    throw new OnboardingError('STATE_UNWRITABLE', `cannot ${action} ${path}: ${describe(cause)}`, { cause });
  }
}
