import { type StateName, stateNames } from '../../events.ts';

/** What the report needs of one line of a log; absent or malformed fields are null. */
export interface LogLine {
  event: string;
  /** By the device's clock, milliseconds since 1970 */
  at: number | null;
  /** When a collector stored it, milliseconds since 1970 */
  received: number | null;
  deviceId: string | null;
  /** What the collector calls the host, for lines written before the device id is known */
  host: string | null;
  /** `_MACHINE_ID` of the journal: tells two hosts of the same name apart */
  machine: string | null;
  version: string | null;
  /** One start of the daemon */
  runId: string | null;
  state: StateName | null;
  from: StateName | null;
  to: StateName | null;
  durationMs: number | null;
  step: string | null;
  code: string | null;
  reason: string | null;
  cause: string | null;
  alias: string | null;
  attempt: number | null;
  /** A summary: how many equal failures the line stands for */
  repeated: number | null;
}

const stateSet: ReadonlySet<unknown> = new Set(stateNames);
const longestText = 300;

/**
 * Remembers what a text was read as: most texts come again and again, and the one string that is kept has its hash.
 *
 * @param most how many are remembered: a log may be forged
 */
function remembered<Value>(most: number, read: (text: string) => Value): (text: string) => Value {
  const known = new Map<string, Value>();
  return (text) => {
    const value = known.get(text);
    if (value !== undefined) return value;
    const fresh = read(text);
    if (known.size < most) known.set(text, fresh);
    return fresh;
  };
}

/** What is accepted of a field's text; null if it is malformed. */
export const accept = {
  id: remembered(200_000, (text) => (/^[A-Za-z0-9_-]{1,64}$/.test(text) ? text : null)),
  code: remembered(256, (text) => (/^[A-Z][A-Z_]{0,63}$/.test(text) ? text : null)),
  reason: remembered(256, (text) => (/^[a-z][a-z0-9-]{0,39}$/.test(text) ? text : null)),
  version: remembered(256, (text) => (/^[0-9A-Za-z.+~_-]{1,40}$/.test(text) ? text : null)),
  state: (text: string) => (stateSet.has(text) ? (text as StateName) : null),
  event: remembered(256, (text) => (/^[a-z]+\.[a-z]+/.test(text) ? text.slice(0, 64) : null)),
  text: (text: string) => (text === '' ? null : text.slice(0, longestText)),
  name: (text: string) => (text === '' ? null : text.slice(0, 64)),
} as const;

/** Facts of a line's envelope that are not in the line. */
export type Envelope = Pick<LogLine, 'received' | 'host' | 'machine'>;
export const noEnvelope: Envelope = { received: null, host: null, machine: null };

/** @returns null for an object that is not a log line of onboardd */
export function readFields(json: Readonly<Record<string, unknown>>, envelope: Envelope): LogLine | null {
  const event = text(json.event, accept.event);
  const at = time(json.timestamp);
  if (event === null || (at === null && envelope.received === null)) return null;
  const { received, host, machine } = envelope;
  const { durationMs } = json;
  return {
    event,
    at,
    received,
    host,
    machine,
    deviceId: text(json.deviceId, accept.id),
    version: text(json.version, accept.version),
    runId: text(json.runId, accept.id),
    state: text(json.state, accept.state),
    from: text(json.from, accept.state),
    to: text(json.to, accept.state),
    durationMs: isDuration(durationMs) ? durationMs : null,
    step: text(json.step, accept.text),
    code: text(json.code, accept.code),
    reason: text(json.reason, accept.reason),
    cause: text(json.cause, accept.text),
    alias: text(json.alias, accept.text),
    attempt: count(json.attempt),
    repeated: count(json.repeated),
  };
}

function text<Value>(value: unknown, read: (text: string) => Value): Value | null {
  return typeof value === 'string' ? read(value) : null;
}

function isDuration(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value < 1e15;
}

function count(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value < 1e9 ? value : null;
}

/** `2026-11-24T00:`, and its time: most lines are of the same hour as the one before. */
let lastHour = 'none';
let lastHourMs = 0;

/** @returns milliseconds since 1970; null if it is not a time */
export function time(value: unknown): number | null {
  if (typeof value !== 'string') return null;
  if (value.length === 24 && value.startsWith(lastHour) && value.endsWith('Z')) {
    const minute = digits(value, 14, 16);
    const second = digits(value, 17, 19);
    const ms = digits(value, 20, 23);
    if (minute <= 59 && second <= 59 && ms >= 0 && value[16] === ':' && value[19] === '.')
      return lastHourMs + (minute * 60 + second) * 1000 + ms;
  }
  const ms = Date.parse(value);
  if (Number.isNaN(ms)) return null;
  const hour = value.slice(0, 14);
  if (/^\d{4}-\d\d-\d\dT\d\d:$/.test(hour)) {
    lastHour = hour;
    lastHourMs = Date.parse(`${hour}00:00.000Z`);
  }
  return ms;
}

/** @returns NaN if one of these is not a digit */
function digits(text: string, from: number, to: number): number {
  let value = 0;
  for (let index = from; index < to; index++) {
    const digit = text.charCodeAt(index) - 0x30;
    value = digit >= 0 && digit <= 9 ? value * 10 + digit : Number.NaN;
  }
  return value;
}
