import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import * as zlib from 'node:zlib';

const chunkBytes = 1024 * 1024;
type Bytes = AsyncIterable<Uint8Array>;

/**
 * The bytes of a log, unpacked if it is gzip, xz or zstd; the content tells, not the name. Of one that is damaged, what
 * comes before the damage, and then the error.
 *
 * @param path `-`: standard input
 * @param onBytes receives the number of bytes that were read since the last call, as stored
 * @throws {Error} if it cannot be read, is packed in another way, or the program that unpacks it is not installed
 */
export async function* readLog(path: string, onBytes: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  const file = path === '-' ? process.stdin : createReadStream(path, { highWaterMark: chunkBytes });
  file.on('data', (chunk: string | Buffer) => onBytes(chunk.length));
  const chunks = file[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  const begin: Buffer[] = [];
  let size = 0;
  while (size < longestMagic) {
    const { value, done } = await chunks.next();
    if (done === true) break;
    begin.push(value);
    size += value.length;
  }
  const head = Buffer.concat(begin);
  const whole = (async function* () {
    yield head;
    yield* { [Symbol.asyncIterator]: () => chunks };
  })();
  try {
    yield* unpacked(head, whole);
  } finally {
    file.destroy();
  }
}

const longestMagic = 8;
const magics: readonly (readonly [hex: string, unpack: (bytes: Bytes) => Bytes])[] = [
  ['1f8b', (bytes) => through(zlib.createGunzip(), bytes)],
  ['fd377a585a00', (bytes) => ofCommand('xz', ['-dc'], bytes)],
  ['28b52ffd', unpackZstd],
  ['425a68', refuse('it is packed with bzip2: unpack it first')],
  ['504b0304', refuse('it is a ZIP archive: unpack it first')],
  ['4c504b5348485248', refuse("it is the journal's own file: use journalctl --file FILE -o json")],
];

function unpacked(head: Buffer, bytes: Bytes): Bytes {
  const hex = head.subarray(0, longestMagic).toString('hex');
  const known = magics.find(([magic]) => hex.startsWith(magic));
  return known === undefined ? bytes : known[1](bytes);
}

function refuse(why: string): () => Bytes {
  return () => {
    throw new Error(why);
  };
}

/** Node.js 22.15 has zstd. */
function unpackZstd(bytes: Bytes): Bytes {
  const { createZstdDecompress: create } = zlib as { createZstdDecompress?: () => zlib.Gunzip };
  return create === undefined ? ofCommand('zstd', ['-dcq'], bytes) : through(create(), bytes);
}

async function* through(unpack: zlib.Gunzip, bytes: Bytes): AsyncGenerator<Uint8Array> {
  const feeding = feed(unpack, bytes).catch((error) => unpack.destroy(error));
  try {
    yield* unpack as AsyncIterable<Buffer>;
  } catch (error) {
    // A stream that fails keeps what was unpacked and not taken yet.
    for (let chunk = unpack.read(); chunk !== null; chunk = unpack.read()) yield chunk;
    throw error;
  }
  await feeding;
}

async function* ofCommand(name: string, args: string[], bytes: Bytes): AsyncGenerator<Uint8Array> {
  const child = spawn(name, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  try {
    await once(child, 'spawn');
  } catch {
    throw new Error(`it is packed with ${name}, and the command ${name} is not installed`);
  }
  let complaint = '';
  (child.stderr as Readable).on('data', (chunk) => {
    complaint = `${complaint}${chunk}`.slice(0, 300);
  });
  const ended = once(child, 'close');
  // A command that ends early breaks the pipe: its exit status tells.
  const feeding = feed(child.stdin, bytes).catch(() => {});
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    await feeding;
    const [status] = await ended;
    if (status !== 0)
      throw new Error(`${name} cannot unpack it: ${complaint.trim() || `exit status ${status}`}`);
  } finally {
    child.kill();
  }
}

async function feed(sink: NodeJS.WritableStream & { destroyed?: boolean }, bytes: Bytes): Promise<void> {
  for await (const chunk of bytes) if (!sink.write(chunk)) await drained(sink);
  sink.end();
  await finished(sink, { readable: false });
}

function drained(sink: NodeJS.WritableStream): Promise<void> {
  return new Promise((resolve, reject) => {
    sink.once('drain', resolve);
    sink.once('close', () => reject(new Error('closed')));
    sink.once('error', reject);
  });
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
