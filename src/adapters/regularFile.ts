import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';

const { O_RDONLY, O_NONBLOCK } = constants;
const most = 1024 * 1024;

/**
 * Reads a file that somebody else names and writes: a regular file of at most 1 MiB, whatever links lead to it. A pipe or
 * a device never blocks the caller.
 *
 * @returns the text as UTF-8; null if there is no such file
 * @throws {Error} for everything else: no right to read it, not a regular file, too long, the disk fails
 */
export function readRegularFile(path: string): string | null {
  let file: number;
  try {
    file = openSync(path, O_RDONLY | O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw error;
  }
  try {
    if (!fstatSync(file).isFile()) throw new Error('it is not a regular file');
    return readUpTo(file);
  } finally {
    closeSync(file);
  }
}

/** The size that is announced is not asked: a file may grow, and those of `/proc` announce none. */
function readUpTo(file: number): string {
  const chunks: Buffer[] = [];
  let length = 0;
  for (;;) {
    const chunk = Buffer.alloc(65_536);
    const count = readSync(file, chunk, 0, chunk.length, null);
    if (count === 0) return Buffer.concat(chunks).toString('utf8');
    chunks.push(chunk.subarray(0, count));
    length += count;
    if (length > most) throw new Error(`it is longer than ${most} bytes`);
  }
}
