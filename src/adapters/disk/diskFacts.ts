import { accessSync, constants, existsSync, lstatSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe } from '../../errors/onboardingError.ts';
import type { DirectoryFacts } from '../../services/diagnostics/checkLocal.ts';

/** Facts about the state directory, without writing to it. */
export function directoryFacts(folder: string): DirectoryFacts {
  const exists = existsSync(folder);
  const present = exists ? folder : nearest(folder);
  const right = (mode: number) => {
    try {
      accessSync(present, mode);
      return null;
    } catch (error) {
      return describe(error);
    }
  };
  let isDirectory = false;
  let mode: number | null = null;
  let freeBytes: number | null = null;
  let freeInodes: number | null = null;
  try {
    const { mode: all, uid } = statSync(present);
    isDirectory = statSync(present).isDirectory();
    mode = exists ? all & 0o777 : null;
    const { bavail, bfree, bsize, files, ffree } = statfsSync(present);
    // Only root may use the reserved blocks.
    freeBytes = (uid === 0 ? bfree : bavail) * bsize;
    freeInodes = files > 0 ? ffree : null;
  } catch {
    // The permission checks below report the cause.
  }
  return {
    exists,
    nearest: present,
    isDirectory,
    mode,
    unreadable: exists ? right(constants.R_OK | constants.X_OK) : null,
    unwritable: right(constants.W_OK | constants.X_OK),
    freeBytes,
    freeInodes,
  };
}

/** Also returns a dangling link: nothing can be created below it. */
function nearest(path: string): string {
  let at = path;
  while (!isThere(at) && dirname(at) !== at) at = dirname(at);
  return at;
}

function isThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false;
  }
}
