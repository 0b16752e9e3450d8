import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { OnboardingError } from '../../errors/onboardingError.ts';

/** An answer is a few certificates and an address: far less than this. Bytes, packed and unpacked. */
const longestBody = 512 * 1024;

/**
 * Reads a body: gzip, deflate and br are unpacked, a byte order mark is taken off.
 *
 * @throws {OnboardingError} PROVISIONING_ANSWER_INVALID where it is longer than 512 KiB, packed or unpacked, or damaged
 * @throws what the socket throws
 */
export async function readBody(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > longestBody) {
      response.destroy();
      throw tooLong();
    }
    chunks.push(chunk);
  }
  const bytes = await unpacked(Buffer.concat(chunks), response.headers['content-encoding'] ?? '');
  return bytes.toString('utf8').replace(/^\ufeff/, '');
}

type Unpacker = (data: Buffer, options: object, done: (error: Error | null, out: Buffer) => void) => void;

async function unpacked(bytes: Buffer, encoding: string): Promise<Buffer> {
  const name = encoding.trim().toLowerCase();
  if (name === '' || name === 'identity' || bytes.length === 0) return bytes;
  // Loaded only for a server, or a proxy before it, that packs.
  const zlib = await import('node:zlib');
  const limit = { maxOutputLength: longestBody };
  const isZlib = ((bytes[0] ?? 0) & 0x0f) === 8;
  const unpackers = {
    gzip: zlib.gunzip,
    'x-gzip': zlib.gunzip,
    // Some servers send it without the header of zlib.
    deflate: isZlib ? zlib.inflate : zlib.inflateRaw,
    br: zlib.brotliDecompress,
  } as Readonly<Record<string, Unpacker>>;
  const unpack = Object.hasOwn(unpackers, name) ? unpackers[name] : undefined;
  if (unpack === undefined) throw invalid(`in a content encoding that is not known: ${name}`);
  try {
    return await promisify(unpack)(bytes, limit);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLong();
    throw invalid(`damaged ${name}`, cause);
  }
}

function tooLong(): OnboardingError {
  return new OnboardingError('PROVISIONING_ANSWER_INVALID', `the answer is longer than ${longestBody} bytes`);
}

function invalid(what: string, cause?: unknown): OnboardingError {
  return new OnboardingError('PROVISIONING_ANSWER_INVALID', `the provisioning server answered ${what}`, {
    cause,
  });
}
