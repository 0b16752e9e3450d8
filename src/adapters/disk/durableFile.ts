import fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, OnboardingError } from '../../errors/onboardingError.ts';
import { reasonOfDiskError } from '../../errors/reasons.ts';
import type { StateDirectory } from '../../services/state/deviceState.ts';

/** The calls of node:fs on which durability depends; a simulated disk can replace them. */
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

/** Identifies a folder even if its path leads elsewhere later. */
export interface Place {
  readonly dev: number;
  readonly ino: number;
  /** This process has just made the folder, durably. */
  readonly isNew?: boolean;
}

export function isSamePlace(a: Place, b: Place): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface WriteOptions {
  readonly disk?: Disk;
  /** Whose the file shall be; null, by default: whoever writes it */
  readonly owner?: Owner | null;
}

/**
 * Replaces a file atomically and durably: every byte written, the file synced, renamed, the folder synced. After a
 * power cut at any moment the file holds either the old content or the new one. The usual libraries are not used: two
 * truncate on a nearly full disk and report success, and neither syncs the folder (docs/reliability.md).
 *
 * @throws {OnboardingError} STATE_UNWRITABLE; the old file stays
 */
export function writeDurably(path: string, text: string, mode: number, options: WriteOptions = {}): void {
  const file = stageDurably(path, text, mode, options);
  file.place();
  file.settle();
}

/** A file that is whole and synced under the name of its temporary file. */
export interface StagedFile {
  /** Renames it into its place. @throws {OnboardingError} STATE_UNWRITABLE; the old file stays */
  place(): void;
  /** Makes its place durable. @throws {OnboardingError} STATE_UNWRITABLE */
  settle(): void;
}

/** The steps of `writeDurably`, for files that have to appear together. @throws {OnboardingError} STATE_UNWRITABLE */
export function stageDurably(
  path: string,
  text: string,
  mode: number,
  { disk = fs, owner = null }: WriteOptions = {},
): StagedFile {
  const place = stage(path, { text, mode, owner, isSynced: true }, disk);
  return { place, settle: () => attempt('write', path, () => syncFolder(dirname(path), disk)) };
}

interface Content {
  readonly text: string;
  readonly mode: number;
  readonly owner: Owner | null;
  /** The bytes are on the disk before the file has its name. */
  readonly isSynced: boolean;
}

/** Replaces a file atomically; the folder is not synced. @throws {OnboardingError} STATE_UNWRITABLE; the old file stays */
function replace(path: string, content: Content, disk: Disk): void {
  const place = stage(path, content, disk);
  place();
}

/** Where a file is written before it gets its name. One fixed place for each: the next write overwrites what a crash leaves. */
export function temporaryOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.tmp`);
}

/** Writes the temporary file. @returns what renames it. Both @throws {OnboardingError} STATE_UNWRITABLE */
function stage(path: string, { text, mode, owner, isSynced }: Content, disk: Disk): () => void {
  const temporary = temporaryOf(path);
  const orRemove = (call: () => void) =>
    attempt('write', path, () => {
      try {
        call();
      } catch (error) {
        try {
          removeIfThere(temporary, disk);
        } catch {
          // The first error says more.
        }
        throw error;
      }
    });
  orRemove(() => {
    removeIfThere(temporary, disk);
    const file = disk.openSync(temporary, 'wx', mode);
    try {
      if (owner !== null) disk.fchownSync(file, owner.uid, owner.gid);
      disk.fchmodSync(file, mode);
      writeAll(file, Buffer.from(text, 'utf8'), disk);
      if (isSynced) disk.fsyncSync(file);
    } finally {
      disk.closeSync(file);
    }
  });
  return () => orRemove(() => disk.renameSync(temporary, path));
}

/** As `stat`, following links. @returns null if there is nothing. @throws {OnboardingError} STATE_UNWRITABLE otherwise */
export function statOf(path: string): fs.Stats | null {
  return attempt('read', path, () => fs.statSync(path, { throwIfNoEntry: false }) ?? null);
}

/** @returns the text, or null if the file does not exist. @throws {OnboardingError} STATE_UNWRITABLE otherwise */
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
 * Reads a regular file of the state directory: follows no link, and never blocks on a pipe.
 *
 * @param mode the mode to restore; null: keep the current one
 * @returns the text, or null if the file does not exist
 * @throws {OnboardingError} STATE_UNWRITABLE otherwise
 */
export function readOwn(path: string, disk: Disk = fs, mode: number | null = null): string | null {
  return attempt('read', path, () =>
    withFile(path, disk, (file) => {
      if (mode !== null) setMode(path, file, mode, disk);
      return disk.readFileSync(file, 'utf8');
    }),
  );
}

/** As `readOwn`, with the owner of the file. @throws {OnboardingError} STATE_UNWRITABLE */
export function readOwned(path: string, disk: Disk = fs): { text: string; owner: Owner } | null {
  return attempt('read', path, () =>
    withFile(path, disk, (file) => {
      const { uid, gid } = disk.fstatSync(file);
      return { text: disk.readFileSync(file, 'utf8'), owner: { uid, gid } };
    }),
  );
}

/**
 * Stages a file if its content differs, creating the folder if necessary, and restores the mode if only that differs. A
 * symbolic or hard link in the place of the file is replaced; its target stays unchanged.
 *
 * @returns null if the file is as it should be
 * @throws {OnboardingError} STATE_UNWRITABLE
 */
export function stageRefresh(
  path: string,
  text: string,
  mode: number,
  options: WriteOptions = {},
): StagedFile | null {
  const { disk = fs } = options;
  if (isAsWanted(path, text, mode, disk)) return null;
  attempt('make the folder of', path, () => makeFolder(dirname(path), 0o755, disk));
  return stageDurably(path, text, mode, options);
}

/** Restores the mode if only that differs. */
function isAsWanted(path: string, text: string, mode: number, disk: Disk): boolean {
  // A text that UTF-8 cannot hold as it is (a lone surrogate) is compared as it was written.
  const written = Buffer.from(text, 'utf8').toString('utf8');
  const isSame = (file: number) =>
    disk.readFileSync(file, 'utf8') === written && setMode(path, file, mode, disk);
  return attempt('read', path, () => unlessLink(() => withFile(path, disk, isSame))) === true;
}

/**
 * Creates the state directory durably. No-op if it exists.
 *
 * @returns whether it was created: nothing in it waits for a sync
 * @throws {OnboardingError} STATE_UNWRITABLE
 */
export function makeDirectory(folder: string, disk: Disk = fs): boolean {
  return attempt('make', folder, () => makeFolder(folder, 0o700, disk));
}

/**
 * Opens the state directory, which must exist.
 *
 * @param modeOf the required mode of a file; null: any
 * @param place the folder that was checked; another one in its place is refused; null: any
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
  /** After a killed process or a failed sync, a power cut could still undo renames. */
  let isDurable = place?.isNew === true;
  /** A copy was replaced since the folder was last synced. */
  let isUnsettled = false;
  /** Decisions depend on what is read here, so it has to be durable first. */
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
      isUnsettled = false;
      return result;
    });
  return {
    read: (name) => settled(() => readOwn(pathOf(name), disk, modeOf(name))),
    write: (name, text, mode) => changed(() => writeDurably(pathOf(name), text, mode, { disk, owner })),
    refresh: (name, text, mode) =>
      settled(() => {
        if (isAsWanted(pathOf(name), text, mode, disk)) return;
        replace(pathOf(name), { text, mode, owner, isSynced: true }, disk);
        isUnsettled = true;
      }),
    settle() {
      if (isUnsettled) attempt('sync', folder, () => syncFolder(folder, disk));
      isUnsettled = false;
    },
    note: (name, text, mode) => replace(pathOf(name), { text, mode, owner, isSynced: false }, disk),
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
 * Restricts the folder to its owner, if we may.
 *
 * @returns the owner that files written by root get, so that the service can read them; null: no change
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
      // Another owner's folder or a read-only disk: later reads and writes fail if that matters.
    }
    return process.geteuid?.() !== 0 || uid === 0 ? null : { uid, gid };
  } finally {
    disk.closeSync(descriptor);
  }
}

/** Removes a file durably. No-op if the file does not exist. @throws {OnboardingError} STATE_UNWRITABLE */
export function removeDurably(path: string, disk: Disk = fs): void {
  attempt('remove', path, () => {
    removeIfThere(path, disk);
    if (disk.existsSync(dirname(path))) syncFolder(dirname(path), disk);
  });
}

/** Restores a file's mode, if we may. */
function restoreMode(path: string, mode: number, disk: Disk): void {
  try {
    withFile(path, disk, (file) => setMode(path, file, mode, disk));
  } catch {
    // Later reads and writes fail if that matters.
  }
}

/** @returns false if we may not set it, so that only a new file in its place gets the mode */
function setMode(path: string, file: number, mode: number, disk: Disk): boolean {
  try {
    const at = disk.fstatSync(file);
    if ((at.mode & 0o7777) === mode) return true;
    if (!isOurs(path, at, disk)) return false;
    disk.fchmodSync(file, mode);
    return true;
  } catch (error) {
    // A read-only disk keeps its modes.
    return codeOf(error) !== 'EPERM';
  }
}

/** Root may set the mode of any file: a file of another user with a hard link in the state directory keeps its mode. */
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

/** Opens a regular file for reading. @returns the result of `use`; null if the file does not exist */
function withFile<T>(path: string, disk: Disk, use: (file: number) => T): T | null {
  let file: number;
  try {
    file = disk.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if (isAbsent(error)) return null;
    if (codeOf(error) === 'ELOOP') throw new LinkError('it is a symbolic link');
    throw error;
  }
  try {
    if (!disk.fstatSync(file).isFile()) throw new Error('it is not a regular file');
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
    if (more <= 0) throw new Error('the disk accepted no more bytes');
    written += more;
  }
}

/** Makes a folder durably, and those above it. Node's own recursive mkdir never returns below `/proc`. */
function makeFolder(folder: string, mode: number, disk: Disk): boolean {
  if (disk.existsSync(folder)) return false;
  makeFolder(dirname(folder), 0o755, disk);
  // The service's umask would take the rights of others away, for whom files are exported.
  const before = process.umask(0);
  try {
    disk.mkdirSync(folder, { mode });
  } finally {
    process.umask(before);
  }
  syncFolder(dirname(folder), disk);
  return true;
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
    const reason = reasonOfDiskError(cause);
    throw new OnboardingError('STATE_UNWRITABLE', `cannot ${action} ${path}: ${describe(cause)}`, {
      cause,
      reason,
    });
  }
}
