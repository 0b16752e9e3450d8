import { parseJson } from '../../text/json.ts';

/** The largest message of the fleet is a result with a docker-compose file; a longer one is an attack or a bug. */
export const longestMessage = 4 * 1024 * 1024;
/** The longest line of the protocol that any server sends is INFO. */
export const longestLine = 64 * 1024;

const lineFeed = 10;
const carriageReturn = 13;

/**
 * Checks a NATS server's bytes on their way to the client, which has no limits: it would buffer a message of any announced
 * size, and a line without an end.
 *
 * @returns a function to call with each chunk, in order
 * @throws {RangeError} (the function) for a message over 4 MiB, a line over 64 KiB, an INFO that is not JSON, and anything
 *   that is not an operation of the protocol (https://docs.nats.io/reference/reference-protocols/nats-protocol); no later
 *   chunk may be passed to it
 */
export function frameGuard(): (chunk: Uint8Array) => void {
  let line = '';
  /** Bytes of the current message that have not arrived yet, with its CR LF */
  let left = 0;
  return (chunk) => {
    let at = 0;
    while (at < chunk.length) {
      if (left > 0) {
        const taken = Math.min(left, chunk.length - at);
        for (let index = Math.max(0, 2 - left); index < 2; index++) checkEnd(chunk, at, left, index);
        left -= taken;
        at += taken;
        continue;
      }
      const end = chunk.indexOf(lineFeed, at);
      const stop = end < 0 ? chunk.length : end;
      if (line.length + stop - at > longestLine)
        throw new RangeError(`a line longer than ${longestLine} bytes`);
      line += Buffer.from(chunk.buffer, chunk.byteOffset + at, stop - at).toString('latin1');
      at = stop + 1;
      if (end < 0) continue;
      left = payloadBytes(line);
      line = '';
    }
  };
}

/** The two bytes after a message must be CR LF: the client would skip any other bytes. */
function checkEnd(chunk: Uint8Array, at: number, left: number, index: number): void {
  const byte = chunk[at + left - 2 + index];
  if (byte !== undefined && byte !== (index === 0 ? carriageReturn : lineFeed)) {
    throw new RangeError('a message that is longer than announced');
  }
}

/** @returns how many bytes follow the line; 0 if it announces no message */
function payloadBytes(line: string): number {
  const operation = /^(MSG|HMSG|PING|PONG|INFO|\+OK|-ERR)(?=[ \t\r]|$)/i.exec(line)?.[1]?.toUpperCase();
  if (operation === undefined) throw new RangeError('something that is not the NATS protocol');
  if (operation === 'INFO' && !isJson(line.slice(4))) throw new RangeError('an INFO that is not JSON');
  if (operation !== 'MSG' && operation !== 'HMSG') return 0;
  const size = Number(/[ \t](\d{1,15})\r?$/.exec(line)?.[1] ?? Number.NaN);
  if (!(size <= longestMessage)) throw new RangeError(`a message longer than ${longestMessage} bytes`);
  return size + 2;
}

/** Checked here because the client prints what it cannot parse. */
function isJson(text: string): boolean {
  try {
    const json = parseJson(text);
    return typeof json === 'object' && json !== null;
  } catch {
    return false;
  }
}
