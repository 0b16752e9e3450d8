import { createReadStream, statSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import { createGunzip } from 'node:zlib';

/** A longer line is cut: onboardd did not write it, and it must not fill the memory. */
const longestLine = 256 * 1024;
const chunkBytes = 1024 * 1024;

/**
 * Reads a log line by line, in constant memory.
 *
 * @param path a file, `.gz` too; `-`: standard input
 * @param onBytes receives the number of bytes that were read since the last call
 * @throws {Error} if it cannot be read
 */
export async function readLines(
  path: string,
  onLine: (line: string) => void,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const file = path === '-' ? process.stdin : createReadStream(path, { highWaterMark: chunkBytes });
  file.on('data', (chunk: string | Buffer) => onBytes(chunk.length));
  const decoder = new StringDecoder('utf8');
  let rest = '';
  let isCut = false;
  for await (const chunk of path.endsWith('.gz') ? gunzipped(file) : file) {
    const text = rest + decoder.write(chunk as Buffer);
    let begin = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', begin)) {
      if (!isCut) onLine(text.slice(begin, end));
      isCut = false;
      begin = end + 1;
    }
    rest = text.slice(begin);
    if (rest.length > longestLine) {
      if (!isCut) onLine(rest.slice(0, longestLine));
      isCut = true;
      rest = '';
    }
  }
  rest += decoder.end();
  if (rest !== '' && !isCut) onLine(rest);
}

function gunzipped(file: NodeJS.ReadableStream): AsyncIterable<Buffer> {
  const plain = createGunzip();
  file.once('error', (error) => plain.destroy(error));
  return file.pipe(plain);
}

/** Total size, for a progress bar; null if one is not a regular file. */
export function sizeOf(paths: readonly string[]): number | null {
  let all = 0;
  for (const path of paths) {
    if (path === '-') return null;
    try {
      const file = statSync(path);
      if (!file.isFile()) return null;
      all += file.size;
    } catch {
      // Reading it reports the error.
      return null;
    }
  }
  return all;
}
