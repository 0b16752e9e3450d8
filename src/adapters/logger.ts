import { createLogger, format, transports } from 'winston';
import type { LogFormat, LogLevel } from '../config/schema.ts';
import { catalogue, type ErrorCode } from '../errors/catalogue.ts';
import { redact } from '../errors/onboardingError.ts';
import { isReason, remedyOf } from '../errors/reasons.ts';
import type { EventName, FieldsOf, LevelOf } from '../events.ts';
import { plainText } from '../text/plainText.ts';
import { type Entry, journalField, type journalWriter } from './nativeJournal.ts';

/** One line of the log: an event of the catalogue, a sentence for a person, and the event's own fields. */
export type Log = <E extends EventName>(
  level: LevelOf<E>,
  event: E,
  message: string,
  fields: FieldsOf<E> & { readonly repeated?: number },
) => void;

export interface LogOptions {
  readonly level: LogLevel;
  readonly style: LogFormat;
  /** What the format `pretty` writes of a line: the locale may not have all of its characters. */
  readonly inCharset: (line: string) => string;
  /** Fields of every line */
  readonly run: { readonly version: string; readonly runId: string };
  /** Further fields of every line, once known */
  readonly context: () => Readonly<Record<string, unknown>>;
  /** For the format `journal`, with the MESSAGE_ID of each event; null: standard output */
  readonly journal: {
    readonly write: ReturnType<typeof journalWriter>;
    readonly messageIds: Readonly<Record<string, string>>;
  } | null;
}

const levels = { error: 0, warn: 1, info: 2, debug: 3 } as const;
/** Syslog priorities, sd-daemon(3). */
const priorities: Readonly<Record<string, number>> = { error: 3, warn: 4, info: 6, debug: 7 };

/** The log, one event a line: on standard output, or as entries of the journal. */
export function createLog({ level, style, inCharset, run, context, journal }: LogOptions): Log {
  const logger = createLogger({
    level,
    levels,
    format: format.printf(({ line }) =>
      style === 'pretty' ? inCharset(pretty(line as Line)) : structured(line as Line, style),
    ),
    transports: [new transports.Console({ stderrLevels: [] })],
  });
  // Ignore EPIPE from a closed log reader. Registered once for all logs.
  process.stdout.removeListener('error', ignore).on('error', ignore);
  return (lineLevel, event, message, fields) => {
    const line: Line = plain({
      message: redact(message),
      timestamp: new Date().toISOString(),
      level: lineLevel,
      event,
      ...run,
      ...known(context()),
      ...fields,
    });
    const print = () => logger.log({ level: lineLevel, message: '', line });
    if (style !== 'journal' || journal === null) print();
    else if (levels[lineLevel] <= levels[level])
      journal.write(entryOf(line, journal.messageIds[event]), print);
  };
}

interface Line extends Record<string, unknown> {
  readonly message: string;
  readonly timestamp: string;
  readonly level: string;
  readonly event: string;
}

/** The fields that journalctl knows, every field of the line as `ONBOARDD_*`, and the remedy of a failure. */
function entryOf({ message, ...line }: Line, messageId: string | undefined): Entry {
  const remedy = remedyOfLine(line);
  const own = Object.entries(line).map(([name, value]) => [journalField(name), value]);
  return {
    MESSAGE: message,
    PRIORITY: priorities[line.level] ?? 6,
    ...(messageId !== undefined && { MESSAGE_ID: messageId }),
    SYSLOG_IDENTIFIER: 'onboardd',
    ...Object.fromEntries(own),
    ...(remedy !== null && { ONBOARDD_REMEDY: remedy }),
  };
}

function remedyOfLine({ code, reason, remedy }: Record<string, unknown>): string | null {
  if (remedy !== undefined || typeof code !== 'string' || !Object.hasOwn(catalogue, code)) return null;
  return remedyOf(code as ErrorCode, isReason(reason) ? reason : null);
}

function structured(line: Line, style: LogFormat): string {
  const json = JSON.stringify(line);
  return style === 'journal' ? `<${priorities[line.level] ?? 6}>${json}` : json;
}

function pretty({ timestamp, level, event, message }: Line): string {
  return `${timestamp.slice(11, 23)} ${level.padEnd(5)} ${event.padEnd(18)} ${message}`;
}

/** Foreign text in a line must not control the reader's terminal. */
function plain(line: Line): Line {
  const fields = Object.entries(line).map(([name, value]) => [name, plainValue(value, 1)]);
  return Object.fromEntries(fields);
}

/** @param depth how many levels of lists and objects are looked into */
function plainValue(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return plainText(value);
  if (typeof value !== 'object' || value === null || depth === 0) return value;
  if (Array.isArray(value)) return value.map((one) => plainValue(one, depth - 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [plainText(name), plainValue(one, depth - 1)]),
  );
}

function ignore(): void {}

function known(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}
