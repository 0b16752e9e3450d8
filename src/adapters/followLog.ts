import { type FileHandle, open, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** fs.watch misses changes on network file systems, and a rotation needs a look at the name anyway. */
const lookEveryMs = 500;
const chunkBytes = 1024 * 1024;
/** The last line of a file that was replaced may lack its end. */
const lineEnd = Uint8Array.of(0x0a);

/**
 * The bytes of a file, and those that are appended later. A file that takes its place (rotation) is read from its
 * beginning, after the rest of the old one; so is one that was truncated. Never ends.
 *
 * @param signal ends it
 * @throws {Error} if the file cannot be opened at first
 */
export async function* followLog(path: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  let file: FileHandle = await open(path);
  let position = 0;
  const buffer = new Uint8Array(chunkBytes);
  try {
    while (signal?.aborted !== true) {
      // Looked at before reading: what is written to the old file until it is replaced is read below.
      const next = await replacement(path, file);
      for (;;) {
        const { bytesRead } = await file.read(buffer, 0, chunkBytes, position);
        if (bytesRead === 0) break;
        position += bytesRead;
        yield buffer.slice(0, bytesRead);
      }
      if (next !== null) {
        await file.close();
        [file, position] = [next, 0];
        yield lineEnd;
        continue;
      }
      if ((await file.stat()).size < position) {
        position = 0;
        yield lineEnd;
      } else await sleep(lookEveryMs, undefined, { signal }).catch(() => {});
    }
  } finally {
    await file.close();
  }
}

/** @returns the file that has the name now, if it is another one */
async function replacement(path: string, file: FileHandle): Promise<FileHandle | null> {
  try {
    const [own, now] = [await file.stat(), await stat(path)];
    return own.ino === now.ino && own.dev === now.dev ? null : await open(path);
  } catch {
    // Between a rotation's rename and its new file.
    return null;
  }
}
