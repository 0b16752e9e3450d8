import fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, OnboardingError } from '../errors.ts';
import type { StateDirectory } from '../services/deviceState.ts';

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
  | 'chmodSync'
  | 'statSync'
  | 'existsSync'
>;

interface Owner {
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

/** Writes durably where the content differs, making the folder if need be. @throws {OnboardingError} STATE_UNWRITABLE */
export function refreshFile(
  path: string,
  text: string,
  mode: number,
  disk: Disk = fs,
  owner: Owner | null = null,
): void {
  if (readText(path, disk) === text) return;
  attempt('make the folder of', path, () => makeFolder(dirname(path), 0o755, disk));
  writeDurably(path, text, mode, disk, owner);
}

/** Makes the state directory durably, where it is absent. @throws {OnboardingError} STATE_UNWRITABLE */
export function makeDirectory(folder: string, disk: Disk = fs): void {
  attempt('make', folder, () => makeFolder(folder, 0o700, disk));
}

/** The state directory, which is there. @throws {OnboardingError} STATE_UNWRITABLE */
export function openStateDirectory(folder: string, disk: Disk = fs): StateDirectory {
  restrictMode(folder, 0o700, disk);
  const owner = ownerFor(folder, disk);
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
    read: (name) => settled(() => readText(pathOf(name), disk)),
    write: (name, text, mode) => changed(() => writeDurably(pathOf(name), text, mode, disk, owner)),
    refresh: (name, text, mode) => changed(() => refreshFile(pathOf(name), text, mode, disk, owner)),
    restrict: (name, mode) => restrictMode(pathOf(name), mode, disk),
    setAside: (name) =>
      changed(() =>
        attempt('set aside', pathOf(name), () => {
          const free = freeName(folder, name, disk);
          disk.renameSync(pathOf(name), join(folder, free));
          syncFolder(folder, disk);
          return free;
        }),
      ),
  };
}

/** Root in the directory of a service's user leaves files that the service can read. Null: nothing is to be changed. */
function ownerFor(folder: string, disk: Disk): Owner | null {
  if (process.geteuid?.() !== 0) return null;
  const { uid, gid } = attempt('look at', folder, () => disk.statSync(folder));
  return uid === 0 ? null : { uid, gid };
}

/** Removes a file durably; one that is absent is none. @throws {OnboardingError} STATE_UNWRITABLE */
export function removeDurably(path: string, disk: Disk = fs): void {
  attempt('remove', path, () => {
    removeIfThere(path, disk);
    if (disk.existsSync(dirname(path))) syncFolder(dirname(path), disk);
  });
}

/** Takes away rights that `mode` does not give. Where that is not ours to do, the rights stay. */
function restrictMode(path: string, mode: number, disk: Disk): void {
  try {
    const rights = disk.statSync(path).mode & 0o777;
    if ((rights & ~mode) !== 0) disk.chmodSync(path, rights & mode);
  } catch {
    // Another owner's file, or a disk that is read-only: reading and writing it tell whether that matters.
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
  return (error as NodeJS.ErrnoException | null)?.code === 'ENOENT';
}

function attempt<T>(action: string, path: string, call: () => T): T {
  try {
    return call();
  } catch (cause) {
    throw new OnboardingError('STATE_UNWRITABLE', `cannot ${action} ${path}: ${describe(cause)}`, { cause });
  }
}
