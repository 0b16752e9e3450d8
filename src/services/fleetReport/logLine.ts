import { type StateName, stateNames } from '../../events.ts';

/** What the report needs of one line of a log; absent or malformed fields are null. */
export interface LogLine {
  readonly event: string;
  /** Milliseconds since 1970 */
  readonly at: number;
  readonly deviceId: string | null;
  /** `_HOSTNAME` of the journal, for lines written before the device id is known */
  readonly host: string | null;
  readonly state: StateName | null;
  readonly from: StateName | null;
  readonly to: StateName | null;
  readonly durationMs: number | null;
  readonly step: string | null;
  readonly code: string | null;
  readonly reason: string | null;
  readonly cause: string | null;
  readonly alias: string | null;
  readonly notAfter: number | null;
}

const idShape = /^[A-Za-z0-9_-]{1,64}$/;
const codeShape = /^[A-Z][A-Z_]{0,63}$/;
const reasonShape = /^[a-z][a-z0-9-]{0,39}$/;
const stateSet: ReadonlySet<unknown> = new Set(stateNames);
const longestText = 300;

/**
 * Reads a line of `onboardd run`, of `journalctl -o cat`, `-o json` or the usual `-o short`, with or without the syslog
 * priority `<N>`.
 *
 * @returns null for any other line
 */
export function parseLogLine(line: string): LogLine | null {
  const start = line.indexOf('{');
  if (start < 0) return null;
  const outer = parseObject(start === 0 ? line : line.slice(start));
  if (outer === null) return null;
  if (typeof outer.event === 'string') return read(outer, null);
  const { MESSAGE: message, _HOSTNAME: host } = outer;
  const text = Array.isArray(message) ? bytesToText(message) : message;
  if (typeof text !== 'string') return null;
  const inner = parseObject(text.slice(Math.max(0, text.indexOf('{'))));
  if (inner === null || typeof inner.event !== 'string') return null;
  return read(inner, typeof host === 'string' ? host.slice(0, 64) : null);
}

function read(json: Record<string, unknown>, host: string | null): LogLine | null {
  const {
    event,
    timestamp,
    deviceId,
    state,
    from,
    to,
    durationMs,
    step,
    code,
    reason,
    cause,
    alias,
    notAfter,
  } = json;
  const at = time(timestamp);
  if (at === null) return null;
  return {
    event: (event as string).slice(0, 64),
    at,
    deviceId: typeof deviceId === 'string' && idShape.test(deviceId) ? deviceId : null,
    host,
    state: stateOf(state),
    from: stateOf(from),
    to: stateOf(to),
    durationMs: typeof durationMs === 'number' && durationMs >= 0 && durationMs < 1e15 ? durationMs : null,
    step: shortText(step),
    code: typeof code === 'string' && codeShape.test(code) ? code : null,
    reason: typeof reason === 'string' && reasonShape.test(reason) ? reason : null,
    cause: shortText(cause),
    alias: shortText(alias),
    notAfter: time(notAfter),
  };
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

/** journalctl writes text with control characters as an array of bytes. */
function bytesToText(bytes: readonly unknown[]): string {
  return new TextDecoder().decode(
    Uint8Array.from(bytes, (byte) => (typeof byte === 'number' ? byte & 0xff : 0x3f)),
  );
}

function time(value: unknown): number | null {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? null : ms;
}

function stateOf(value: unknown): StateName | null {
  return stateSet.has(value) ? (value as StateName) : null;
}

function shortText(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value.slice(0, longestText) : null;
}
