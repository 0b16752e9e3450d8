import { events } from '../../events.ts';
import { accept, type Envelope, type LogLine, noEnvelope, readFields, time } from './logLine.ts';

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads a line of `onboardd run`, with or without the syslog priority `<N>` or the prefix of `journalctl -o short`, and
 * as these tools wrap it: `journalctl -o json`, docker's json-file, Loki (`logcli -o jsonl`), GELF.
 *
 * @returns null for any other line
 */
export function parseLogLine(line: string): LogLine | null {
  const start = line.indexOf('{');
  if (start < 0) return null;
  const json = parseObject(start === 0 ? line : line.slice(start));
  return json === null ? null : unwrap(json);
}

function unwrap(json: Json): LogLine | null {
  if (typeof json.event === 'string') return readFields(json, noEnvelope);
  if ('MESSAGE' in json || '__REALTIME_TIMESTAMP' in json) return ofJournal(json);
  if (typeof json.log === 'string') return ofText(json.log, { ...noEnvelope, received: time(json.time) });
  if (typeof json.line === 'string' && 'timestamp' in json)
    return ofLoki(json.line, json.timestamp, json.labels);
  if (typeof json.short_message === 'string') return ofGelf(json);
  return null;
}

/** @param text a line as onboardd wrote it */
function ofText(text: string, envelope: Envelope): LogLine | null {
  const json = parseObject(text.slice(Math.max(0, text.indexOf('{'))));
  return json === null ? null : readFields(json, envelope);
}

/** @param fields of the journal, `systemd.journal-fields(7)`; a field that occurs twice is an array */
export function ofJournal(fields: Json): LogLine | null {
  const { MESSAGE: message, _HOSTNAME: host, _MACHINE_ID: machine } = fields;
  const micros = Number(fields.__REALTIME_TIMESTAMP);
  const envelope: Envelope = {
    received: Number.isFinite(micros) ? Math.floor(micros / 1000) : null,
    host: typeof host === 'string' ? accept.name(host) : null,
    machine: typeof machine === 'string' ? accept.id(machine) : null,
  };
  if (typeof fields.ONBOARDD_EVENT === 'string') return readFields(nativeFields(fields), envelope);
  const text = Array.isArray(message) ? bytesToText(message) : message;
  return typeof text === 'string' ? ofText(text, envelope) : null;
}

/** Field of the log → its name in the native journal, without underscores: DEVICEID for `deviceId` and DEVICE_ID. */
const numeric = new Set(['durationMs', 'attempt', 'repeated', 'retryInMs', 'pid', 'failures']);
const byJournalName = new Map(
  ['timestamp', 'event', 'deviceId', 'state', 'version', 'runId', 'repeated']
    .concat(Object.values(events).flatMap(({ fields }) => Object.keys(fields)))
    .map((name) => [name.toUpperCase(), name]),
);

function nativeFields(fields: Json): Json {
  const found: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (!name.startsWith('ONBOARDD_')) continue;
    const field = byJournalName.get(name.slice(9).replaceAll('_', ''));
    if (field !== undefined) found[field] = numeric.has(field) ? Number(value) : value;
  }
  return found;
}

/** @param labels of the stream. @param at nanoseconds as digits, or RFC 3339 */
export function ofLoki(line: string, at: unknown, labels: unknown): LogLine | null {
  const named = typeof labels === 'object' && labels !== null ? (labels as Json) : {};
  const host = named.host ?? named.hostname ?? named.instance;
  const received = /^\d{16,20}$/.test(String(at)) ? Math.floor(Number(at) / 1e6) : time(at);
  return ofText(line, { received, host: typeof host === 'string' ? accept.name(host) : null, machine: null });
}

/** GELF 1.1: the line in `short_message` or `full_message`, or its fields with an underscore in front. */
function ofGelf(json: Json): LogLine | null {
  const { host, timestamp: at, short_message: short, full_message: full } = json;
  const envelope: Envelope = {
    received: typeof at === 'number' && at > 0 && at < 1e11 ? Math.round(at * 1000) : null,
    host: typeof host === 'string' ? accept.name(host) : null,
    machine: null,
  };
  for (const text of [full, short]) {
    const line = typeof text === 'string' && text.includes('{') ? ofText(text, envelope) : null;
    if (line !== null) return line;
  }
  const fields = Object.entries(json).filter(([name]) => name.startsWith('_'));
  return readFields(Object.fromEntries(fields.map(([name, value]) => [name.slice(1), value])), envelope);
}

export function parseObject(text: string): Json | null {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === 'object' && json !== null && !Array.isArray(json) ? (json as Json) : null;
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
