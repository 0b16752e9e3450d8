import type { StateName } from '../../events.ts';
import { hashByte, hashStart, Interned } from './interned.ts';
import { accept, type LogLine, time } from './logLine.ts';

/**
 * Reads a line as onboardd writes it, one flat JSON object, straight from its bytes: `JSON.parse` would make every text of
 * it, and most are not needed. What it accepts, it reads as `readFields` reads the parsed object.
 *
 * @returns null for any other line, and for one that needs a whole parser: nested, spaced, or with escapes or bytes beyond
 *   ASCII in a field that the report shows
 */
export function scanLine(bytes: Uint8Array, start: number, end: number): LogLine | null {
  let at = start + 1;
  if (end - start < 2 || bytes[start] !== brace || bytes[end - 1] !== closingBrace) return null;
  const line = emptyLine();
  let key = beforeFirst;
  for (;;) {
    key = isAt(key.next, bytes, at) ? (key.next as Key) : (readKey(key, bytes, at, end) as Key);
    if (key === null) return null;
    at = readValue(line, key.field, bytes, at + key.text.length);
    if (at < 0 || at >= end) return null;
    if (bytes[at] === closingBrace) break;
    if (bytes[at] !== comma) return null;
    at++;
  }
  return at === end - 1 && line.event !== null && line.at !== null ? (line as LogLine) : null;
}

const [quote, backslash, colon, comma, brace, closingBrace] = [0x22, 0x5c, 0x3a, 0x2c, 0x7b, 0x7d];
const [zero, nine, minus, lowerU] = [0x30, 0x39, 0x2d, 0x75];
type OpenLine = Omit<LogLine, 'event'> & { event: string | null };

function emptyLine(): OpenLine {
  return {
    event: null,
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
}

type TextField =
  | 'event'
  | 'deviceId'
  | 'version'
  | 'runId'
  | 'state'
  | 'from'
  | 'to'
  | 'step'
  | 'code'
  | 'reason'
  | 'cause'
  | 'alias';
type CountField = 'durationMs' | 'attempt' | 'repeated';
type Field =
  | { readonly kind: 'text'; readonly name: TextField; readonly texts: Interned<string | null> }
  | { readonly kind: 'count'; readonly name: CountField; readonly most: number }
  | { readonly kind: 'time' }
  | null;

const ids = new Interned<string | null>(400_000, accept.id);
/** A UUID without dashes, the usual device id and every run id, is found faster. */
const idLength = 32;
const longIds = new Interned<string | null>(400_000, accept.id);
const states = new Interned<string | null>(64, accept.state);
const texts = new Interned<string | null>(100_000, accept.text);
const textFields: Readonly<Record<TextField, Interned<string | null>>> = {
  event: new Interned<string | null>(256, accept.event),
  deviceId: ids,
  version: new Interned<string | null>(1024, accept.version),
  runId: ids,
  state: states,
  from: states,
  to: states,
  step: new Interned<string | null>(1024, accept.text),
  code: new Interned<string | null>(1024, accept.code),
  reason: new Interned<string | null>(1024, accept.reason),
  cause: texts,
  alias: texts,
};
/** `readFields` takes a whole `attempt` below 1e9, and any duration below 1e15. */
const counts: Readonly<Record<CountField, number>> = { durationMs: 1e15, attempt: 1e9, repeated: 1e9 };

/** A key with its quotes and its colon, and which one came behind it the last time: mostly it is the same one again. */
interface Key {
  readonly text: Uint8Array;
  readonly field: Field;
  next: Key | null;
}

const known = new Map<string, Field>([['timestamp', { kind: 'time' }]]);
for (const [name, interned] of Object.entries(textFields))
  known.set(name, { kind: 'text', name: name as TextField, texts: interned });
for (const [name, most] of Object.entries(counts))
  known.set(name, { kind: 'count', name: name as CountField, most });
const keys = new Interned<Key>(1024, (name) => ({
  text: Buffer.from(`"${name}":`),
  field: known.get(name) ?? null,
  next: null,
}));
const beforeFirst: Key = { text: new Uint8Array(0), field: null, next: null };

function isAt(key: Key | null, bytes: Uint8Array, at: number): boolean {
  if (key === null) return false;
  const { text } = key;
  for (let index = 0; index < text.length; index++) if (text[index] !== bytes[at + index]) return false;
  return true;
}

/** @returns null: it needs a whole parser */
function readKey(before: Key, bytes: Uint8Array, at: number, end: number): Key | null {
  if (bytes[at] !== quote) return null;
  const close = scanText(bytes, at + 1, end, false);
  if (close < 0 || bytes[close + 1] !== colon) return null;
  const key = keys.get(bytes, at + 1, close, textHash);
  before.next = key;
  return key;
}

/** Of the text that was scanned last */
let textHash = 0;

/**
 * @param at behind the opening quote. @param skips whether its meaning does not matter: then escapes and bytes beyond ASCII
 *   are passed over. @returns where its closing quote is; -1: it is none, or needs a whole parser
 */
function scanText(bytes: Uint8Array, at: number, end: number, skips: boolean): number {
  let hash = hashStart;
  for (let index = at; index < end; index++) {
    const byte = bytes[index] as number;
    if (byte === quote) {
      textHash = hash;
      return index;
    }
    if (byte < 0x20) return -1;
    if (byte === backslash || byte >= 0x80) return skips ? skipText(bytes, index, end) : -1;
    hash = hashByte(hash, byte);
  }
  return -1;
}

/** As `scanText`, for the rest of a text that does not matter: no hash, and escapes are checked as JSON allows them. */
function skipText(bytes: Uint8Array, at: number, end: number): number {
  for (let index = at; index < end; index++) {
    const byte = bytes[index] as number;
    if (byte === quote) return index;
    if (byte < 0x20) return -1;
    if (byte !== backslash) continue;
    index++;
    const escaped = bytes[index] as number;
    if (isEscape[escaped] !== 1) return -1;
    if (escaped !== lowerU) continue;
    for (let digit = 0; digit < 4; digit++) if (isHex[bytes[++index] as number] !== 1) return -1;
  }
  return -1;
}

const isEscape = tableOf('"\\/bfnrtu');
const isHex = tableOf('0123456789abcdefABCDEF');

function tableOf(characters: string): Uint8Array {
  const table = new Uint8Array(256);
  for (const character of characters) table[character.charCodeAt(0)] = 1;
  return table;
}

/** @returns where it ends; -1: it needs a whole parser. The last byte of the line is a brace, and so ends a number. */
function readValue(line: OpenLine, field: Field, bytes: Uint8Array, at: number): number {
  const first = bytes[at] as number;
  if (first === quote) return readText(line, field, bytes, at + 1);
  if ((first >= zero && first <= nine) || first === minus) return readNumber(line, field, bytes, at);
  const after = endOfWord(bytes, at);
  if (after >= 0 && field !== null) setNone(line, field);
  return after;
}

function setNone(line: OpenLine, field: NonNullable<Field>): void {
  if (field.kind === 'time') line.at = null;
  else if (field.kind === 'text') setText(line, field.name, null);
  else setCount(line, field.name, null);
}

/** As `line[name] = value`, which V8 would look up each time. */
function setText(line: OpenLine, name: TextField, value: string | null): void {
  switch (name) {
    case 'event':
      line.event = value;
      break;
    case 'deviceId':
      line.deviceId = value;
      break;
    case 'version':
      line.version = value;
      break;
    case 'runId':
      line.runId = value;
      break;
    case 'state':
      line.state = value as StateName | null;
      break;
    case 'from':
      line.from = value as StateName | null;
      break;
    case 'to':
      line.to = value as StateName | null;
      break;
    case 'step':
      line.step = value;
      break;
    case 'code':
      line.code = value;
      break;
    case 'reason':
      line.reason = value;
      break;
    case 'cause':
      line.cause = value;
      break;
    case 'alias':
      line.alias = value;
  }
}

function setCount(line: OpenLine, name: CountField, value: number | null): void {
  if (name === 'durationMs') line.durationMs = value;
  else if (name === 'attempt') line.attempt = value;
  else line.repeated = value;
}

function readText(line: OpenLine, field: Field, bytes: Uint8Array, at: number): number {
  if (field === null) {
    const close = plainEnd(bytes, at);
    const end = close >= 0 ? close : skipText(bytes, at, bytes.length);
    return end < 0 ? -1 : end + 1;
  }
  if (field.kind === 'text' && field.texts === ids && bytes[at + idLength] === quote) {
    // What was accepted before holds no quote: it ends here, and needs no scan.
    const id = longIds.find(bytes, at, at + idLength, idHash(bytes, at));
    if (typeof id === 'string') {
      setText(line, field.name, id);
      return at + idLength + 1;
    }
  }
  if (field.kind === 'time' && bytes[at + timeLength] === quote) {
    const ms = timeOf(bytes, at);
    if (ms >= 0) {
      line.at = ms;
      return at + timeLength + 1;
    }
  }
  const end = scanText(bytes, at, bytes.length, false);
  if (end < 0) return -1;
  if (field.kind === 'text') {
    const isLongId = field.texts === ids && end - at === idLength;
    const value = isLongId
      ? longIds.get(bytes, at, end, idHash(bytes, at))
      : field.texts.get(bytes, at, end, textHash);
    setText(line, field.name, value);
  } else if (field.kind === 'time')
    line.at = time(Buffer.from(bytes.buffer, bytes.byteOffset + at, end - at).toString('latin1'));
  else setCount(line, field.name, null);
  return end + 1;
}

/** @returns where a text without escapes ends; -1: it has some */
function plainEnd(bytes: Uint8Array, at: number): number {
  for (let index = at; index < bytes.length; index++) {
    const byte = bytes[index] as number;
    if (byte === quote) return index;
    if (byte === backslash || byte < 0x20) return -1;
  }
  return -1;
}

const longestNumber = 15;

/** Whole numbers without exponent only. */
function readNumber(line: OpenLine, field: Field, bytes: Uint8Array, at: number): number {
  const begin = bytes[at] === minus ? at + 1 : at;
  let value = 0;
  let index = begin;
  for (; ; index++) {
    const digit = (bytes[index] as number) - zero;
    if (!(digit >= 0 && digit <= 9)) break;
    value = value * 10 + digit;
  }
  const length = index - begin;
  if (length === 0 || length > longestNumber || (length > 1 && bytes[begin] === zero)) return -1;
  const next = bytes[index];
  if (next !== comma && next !== closingBrace) return -1;
  if (field === null) return index;
  if (field.kind !== 'count') setNone(line, field);
  else if (begin !== at) return -1;
  else setCount(line, field.name, value < field.most ? value : null);
  return index;
}

const words = ['null', 'true', 'false'].map((word) =>
  Uint8Array.from(word, (letter) => letter.charCodeAt(0)),
);

/** @returns where `null`, `true` or `false` ends; -1: it is none */
function endOfWord(bytes: Uint8Array, at: number): number {
  for (const word of words) {
    if (word[0] !== bytes[at]) continue;
    for (let index = 1; index < word.length; index++) if (word[index] !== bytes[at + index]) return -1;
    return at + word.length;
  }
  return -1;
}

/** Of the `idLength` bytes from `at` on, four at a time */
function idHash(bytes: Uint8Array, at: number): number {
  let hash = hashStart;
  for (let index = at; index < at + idLength; index += 4) {
    const word =
      (bytes[index] as number) |
      ((bytes[index + 1] as number) << 8) |
      ((bytes[index + 2] as number) << 16) |
      ((bytes[index + 3] as number) << 24);
    hash = hashByte(hash ^ (hash >>> 13), word);
  }
  return hash;
}

const monthDays = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

const timeLength = 24;

/** RFC 3339 with milliseconds and `Z`, as onboardd writes it. @returns -1 for another form */
function timeOf(bytes: Uint8Array, at: number): number {
  const year = number(bytes, at, 4);
  const month = number(bytes, at + 5, 2);
  const day = number(bytes, at + 8, 2);
  const hour = number(bytes, at + 11, 2);
  const minute = number(bytes, at + 14, 2);
  const second = number(bytes, at + 17, 2);
  const ms = number(bytes, at + 20, 3);
  const isPlain =
    year >= 1970 &&
    month >= 1 &&
    month <= 12 &&
    day >= 1 &&
    day <= (monthDays[month] as number) &&
    hour <= 23 &&
    hour >= 0 &&
    minute >= 0 &&
    minute <= 59 &&
    second >= 0 &&
    second <= 59 &&
    ms >= 0 &&
    hasMarks(bytes, at);
  if (!isPlain) return -1;
  return ((daysTo(year, month) + day) * 24 + hour) * 3_600_000 + minute * 60_000 + second * 1000 + ms;
}

function hasMarks(bytes: Uint8Array, at: number): boolean {
  return (
    bytes[at + 4] === minus &&
    bytes[at + 7] === minus &&
    bytes[at + 10] === 0x54 &&
    bytes[at + 13] === colon &&
    bytes[at + 16] === colon &&
    bytes[at + 19] === 0x2e &&
    bytes[at + 23] === 0x5a
  );
}

/** @returns negative if one of these is no digit */
function number(bytes: Uint8Array, at: number, length: number): number {
  let value = 0;
  for (let index = at; index < at + length; index++) {
    const digit = (bytes[index] as number) - zero;
    if (!(digit >= 0 && digit <= 9)) return -1;
    value = value * 10 + digit;
  }
  return value;
}

let lastMonth = 0;
let lastDays = 0;

/** @returns days from 1970 to the day before the month */
function daysTo(year: number, month: number): number {
  const key = year * 12 + month;
  if (key !== lastMonth) [lastMonth, lastDays] = [key, Date.UTC(year, month - 1, 1) / 86_400_000 - 1];
  return lastDays;
}
