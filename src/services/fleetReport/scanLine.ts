import { hashPrime, hashSeed, type Interner, isSame, newInterner } from './interner.ts';
import { accept, type LogLine } from './logLine.ts';

/** @returns undefined: unusual, to be read by a JSON parser */
export type LineScanner = (bytes: Uint8Array, start: number, end: number) => LogLine | undefined;

// Each a constant of its own: the bundler then puts the numbers into the loops.
const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const open = 0x7b;
const close = 0x7d;
const mostIds = 262_144;
const mostTexts = 8192;

/** Fields by the number that the key table gives them; `skip` for all that the report does not need. */
const names = [
  'skip',
  'event',
  'timestamp',
  'deviceId',
  'version',
  'runId',
  'state',
  'from',
  'to',
  'step',
  'code',
  'reason',
  'cause',
  'alias',
  'durationMs',
  'attempt',
  'repeated',
] as const;
const field = Object.fromEntries(names.map((name, index) => [name, index])) as Record<
  (typeof names)[number],
  number
>;

/** One scanner keeps what it has seen; it is not shared. The line that it returns is overwritten by the next call. */
export function newLineScanner(): LineScanner {
  const keys = newInterner((name) => field[name as (typeof names)[number]] ?? 0, 1024);
  const fill = newFiller();
  const span: Span = { bytes: new Uint8Array(0), start: 0, end: 0, hash: 0 };
  let isEscaped = false;

  /** Sets `span` to the text that begins at `from`. @returns false if it is not one */
  function string(bytes: Uint8Array, from: number, limit: number): boolean {
    let index = from;
    let mixed = hashSeed;
    isEscaped = false;
    for (; index < limit; index++) {
      const byte = bytes[index] as number;
      if (byte === quote) break;
      if (byte < 0x20) return false;
      if (byte === backslash) {
        isEscaped = true;
        index++;
      }
      mixed = Math.imul(mixed ^ byte, hashPrime);
    }
    span.bytes = bytes;
    span.start = from;
    span.end = index;
    span.hash = mixed;
    return index < limit;
  }

  /** Reads the value of a field. @returns where it ended; -1: unusual */
  function value(key: number, bytes: Uint8Array, from: number, limit: number): number {
    if (bytes[from] === quote) {
      if (key === 0) return skip(bytes, from + 1, limit);
      return string(bytes, from + 1, limit) && !isEscaped && fill.text(key, span) ? span.end + 1 : -1;
    }
    let index = from;
    while (index < limit && bytes[index] !== comma && bytes[index] !== close) index++;
    span.start = from;
    span.end = index;
    return fill.other(key, span) ? index : -1;
  }

  return (bytes, start, limit) => {
    if (bytes[start] !== open || bytes[limit - 1] !== close) return undefined;
    fill.begin();
    let index = start + 1;
    for (;;) {
      if (bytes[index] !== quote || !string(bytes, index + 1, limit) || isEscaped) return undefined;
      const key = keys(bytes, index + 1, span.end, span.hash);
      if (bytes[span.end + 1] !== colon) return undefined;
      index = value(key, bytes, span.end + 2, limit);
      if (index < 0) return undefined;
      if (bytes[index] === close) return index === limit - 1 ? fill.line() : undefined;
      if (bytes[index] !== comma) return undefined;
      index++;
    }
  };
}

/** @returns where a text that the report does not need has ended; -1: nowhere */
function skip(bytes: Uint8Array, from: number, limit: number): number {
  for (let index = from; index < limit; index++) {
    const byte = bytes[index] as number;
    if (byte === quote) return index + 1;
    if (byte === backslash) index++;
    else if (byte < 0x20) return -1;
  }
  return -1;
}

/** How each field that is a text is read, by its number; undefined: it is no text. */
function newReaders(): (Interner<string | null> | undefined)[] {
  const event = (text: string) => (/^[a-z]+\.[a-z]+/.test(text) ? accept.event(text) : null);
  const states = newInterner(accept.state, 256);
  const texts = newInterner(accept.text, mostTexts);
  const readers: Partial<Record<(typeof names)[number], Interner<string | null>>> = {
    event: newInterner(event, 256),
    deviceId: newInterner(accept.id, mostIds),
    version: newInterner(accept.version, 256),
    runId: newInterner(accept.id, mostTexts),
    state: states,
    from: states,
    to: states,
    step: texts,
    code: newInterner(accept.code, 256),
    reason: newInterner(accept.reason, 256),
    cause: texts,
    alias: newInterner(accept.text, mostIds),
  };
  return names.map((name) => readers[name]);
}

/** Bytes of a text, and their hash. */
interface Span {
  bytes: Uint8Array;
  start: number;
  end: number;
  hash: number;
}

function newFiller() {
  const line = { ...blank };
  const byName = line as unknown as Record<string, unknown>;
  const readers = newReaders();
  let seen = 0;
  /** JSON.parse takes the last of two fields of one name. @returns false for the second */
  const isFirst = (key: number): boolean => {
    const bit = 1 << key;
    const before = seen;
    seen |= bit;
    return key === 0 || (before & bit) === 0;
  };
  return {
    begin() {
      clear(line);
      seen = 0;
    },
    text(key: number, { bytes, start, end, hash }: Span): boolean {
      if (!isFirst(key)) return false;
      if (key === field.timestamp) {
        line.at = isoTime(bytes, start, end);
        return line.at !== null;
      }
      const value = readers[key]?.(bytes, start, end, hash);
      if (value === undefined || (value === null && key === field.event)) return false;
      byName[names[key] as string] = value;
      return true;
    },
    /** A value that is no text: a whole number, or null, true or false. */
    other(key: number, { bytes, start, end }: Span): boolean {
      if (!isFirst(key)) return false;
      const value = wholeNumber(bytes, start, end);
      if (value === null) return isWord(bytes, start, end) && key !== field.event && key !== field.timestamp;
      if (key === field.durationMs) line.durationMs = value;
      else if (key === field.attempt) line.attempt = value;
      else if (key === field.repeated) line.repeated = value;
      else return key === 0;
      return true;
    },
    line(): LogLine | undefined {
      return line.event === '' || line.at === null ? undefined : line;
    },
  };
}

const blank: LogLine = {
  event: '',
  at: null,
  received: null,
  deviceId: null,
  host: null,
  machine: null,
  version: null,
  runId: null,
  state: null,
  from: null,
  to: null,
  durationMs: null,
  step: null,
  code: null,
  reason: null,
  cause: null,
  alias: null,
  attempt: null,
  repeated: null,
};

/** One by one: Object.assign takes longer than the rest of the line. */
function clear(line: LogLine): void {
  line.event = '';
  line.at = null;
  line.received = null;
  line.deviceId = null;
  line.host = null;
  line.machine = null;
  line.version = null;
  line.runId = null;
  line.state = null;
  line.from = null;
  line.to = null;
  line.durationMs = null;
  line.step = null;
  line.code = null;
  line.reason = null;
  line.cause = null;
  line.alias = null;
  line.attempt = null;
  line.repeated = null;
}

const words = ['null', 'true', 'false'].map((word) =>
  Uint8Array.from(word, (letter) => letter.charCodeAt(0)),
);

function isWord(bytes: Uint8Array, from: number, to: number): boolean {
  return words.some((word) => isSame(word, bytes, from, to));
}

/** @returns null if it is not a whole number of at most 9 digits without sign */
function wholeNumber(bytes: Uint8Array, from: number, to: number): number | null {
  const length = to - from;
  if (length < 1 || length > 9 || (length > 1 && bytes[from] === 0x30)) return null;
  let value = 0;
  for (let index = from; index < to; index++) {
    const digit = (bytes[index] as number) - 0x30;
    if (digit < 0 || digit > 9) return null;
    value = value * 10 + digit;
  }
  return value;
}

/** `2026-11-24T00:`, and its time: most lines are of the same hour as the one before. */
const lastHour = new Uint8Array(14);
let lastHourMs = 0;

/** `2026-11-24T00:00:00.000Z`, as onboardd writes it; null for any other form. */
function isoTime(bytes: Uint8Array, from: number, to: number): number | null {
  if (
    to - from !== 24 ||
    bytes[from + 16] !== colon ||
    bytes[from + 19] !== 0x2e ||
    bytes[from + 23] !== 0x5a
  )
    return null;
  for (let index = 0; index < 14; index++)
    if (bytes[from + index] !== lastHour[index]) {
      if (!readHour(bytes, from)) return null;
      break;
    }
  const minute = two(bytes, from + 14);
  const second = two(bytes, from + 17);
  const ms = two(bytes, from + 20) * 10 + (two(bytes, from + 21) % 10);
  if (!(minute <= 59 && second <= 59 && ms >= 0)) return null;
  return lastHourMs + (minute * 60 + second) * 1000 + ms;
}

/** Sets `lastHour`. @returns false if it is none */
function readHour(bytes: Uint8Array, from: number): boolean {
  const text = String.fromCharCode(...bytes.subarray(from, from + 14));
  const ms = /^[1-9]\d{3}-\d\d-\d\dT\d\d:$/.test(text) ? Date.parse(`${text}00:00.000Z`) : Number.NaN;
  // Date.parse takes the 31st of a shorter month for the first of the next one.
  if (Number.isNaN(ms) || !new Date(ms).toISOString().startsWith(text)) return false;
  lastHour.set(bytes.subarray(from, from + 14));
  lastHourMs = ms;
  return true;
}

/** Two digits; NaN for anything else. */
function two(bytes: Uint8Array, from: number): number {
  const tens = (bytes[from] as number) - 0x30;
  const ones = (bytes[from + 1] as number) - 0x30;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : Number.NaN;
}
