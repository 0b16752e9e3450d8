import { write as writeTo } from 'node:fs';

/** One entry of the journal: field → value. */
export type Entry = Readonly<Record<string, unknown>>;

/** Takes the bytes of one datagram. @param done with null once they went out, else with the error */
export type Send = (bytes: Buffer, done: (error: Error | null) => void) => void;

/** Lines that wait while the journal does not read; more are left out, since the daemon must neither wait nor grow. */
const mostWaiting = 500;

/**
 * Writes entries to the journal in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), one datagram each and in
 * order. A write runs on a thread of its own: a journal that does not read holds up nothing but the log.
 *
 * @param send see `sendTo`
 * @returns a function that writes an entry; `failed` is called if it could not be written (too large, nobody listens)
 */
export function journalWriter(send: Send): (entry: Entry, failed: () => void) => void {
  const waiting: { readonly bytes: Buffer; readonly failed: () => void }[] = [];
  let isBusy = false;
  const next = () => {
    const first = waiting.shift();
    isBusy = first !== undefined;
    if (first === undefined) return;
    send(first.bytes, (error) => {
      if (error !== null) first.failed();
      next();
    });
  };
  return (entry, failed) => {
    if (waiting.length >= mostWaiting) return;
    waiting.push({ bytes: encodeEntry(entry), failed });
    if (!isBusy) next();
  };
}

/** @param descriptor of a connected datagram socket: one write is one datagram */
export function sendTo(descriptor: number): Send {
  return (bytes, done) => writeTo(descriptor, bytes, (error) => done(error));
}

/** `NAME=value`, and for a value of several lines the name, its length (64 bits, little-endian) and the value. */
export function encodeEntry(entry: Entry): Buffer {
  const parts = Object.entries(entry).flatMap(([name, value]) => {
    if (value === null || value === undefined) return [];
    const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
    if (!text.includes('\n')) return [Buffer.from(`${name}=${text}\n`)];
    const bytes = Buffer.from(text);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(bytes.length));
    return [Buffer.from(`${name}\n`), length, bytes, Buffer.from('\n')];
  });
  return Buffer.concat(parts);
}

/** `retryInMs` → `ONBOARDD_RETRY_IN_MS`. The journal takes names of A-Z, 0-9 and _, at most 64 characters. */
export function journalField(name: string): string {
  const words = name.replace(/[A-Z]+/g, (capitals) => `_${capitals}`).replace(/[^A-Za-z0-9]+/g, '_');
  return `ONBOARDD_${words}`.toUpperCase().slice(0, 64);
}
