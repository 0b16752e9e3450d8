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

/** What is accepted of a field's text; null if it is malformed. */
export const accept = {
  id: (text: string) => (/^[A-Za-z0-9_-]{1,64}$/.test(text) ? text : null),
  code: (text: string) => (/^[A-Z][A-Z_]{0,63}$/.test(text) ? text : null),
  reason: (text: string) => (/^[a-z][a-z0-9-]{0,39}$/.test(text) ? text : null),
  version: (text: string) => (/^[0-9A-Za-z.+~_-]{1,40}$/.test(text) ? text : null),
  state: (text: string) => (stateSet.has(text) ? (text as StateName) : null),
  event: (text: string) => text.slice(0, 64),
  text: (text: string) => (text === '' ? null : text.slice(0, longestText)),
  name: (text: string) => (text === '' ? null : text.slice(0, 64)),
} as const;

/** Facts of a line's envelope that are not in the line. */
export type Envelope = Pick<LogLine, 'received' | 'host' | 'machine'>;
export const noEnvelope: Envelope = { received: null, host: null, machine: null };

/** @returns null for an object that is no line of onboardd */
export function readFields(json: Readonly<Record<string, unknown>>, envelope: Envelope): LogLine | null {
  const { event, durationMs } = json;
  const at = time(json.timestamp);
  if (typeof event !== 'string' || !/^[a-z]+\.[a-z]+/.test(event)) return null;
  if (at === null && envelope.received === null) return null;
  const text = <Value>(name: string, read: (text: string) => Value): Value | null => {
    const value = json[name];
    return typeof value === 'string' ? read(value) : null;
  };
  return {
    event: accept.event(event),
    at,
    ...envelope,
    deviceId: text('deviceId', accept.id),
    version: text('version', accept.version),
    runId: text('runId', accept.id),
    state: text('state', accept.state),
    from: text('from', accept.state),
    to: text('to', accept.state),
    durationMs: isDuration(durationMs) ? durationMs : null,
    step: text('step', accept.text),
    code: text('code', accept.code),
    reason: text('reason', accept.reason),
    cause: text('cause', accept.text),
    alias: text('alias', accept.text),
    attempt: count(json.attempt),
    repeated: count(json.repeated),
  };
}

function isDuration(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value < 1e15;
}

function count(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value < 1e9 ? value : null;
}

export function time(value: unknown): number | null {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? null : ms;
}
