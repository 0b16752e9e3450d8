import { createLogger, format, transports } from 'winston';
import type { LogFormat, LogLevel } from '../config/schema.ts';
import { redact } from '../errors/onboardingError.ts';
import type { EventName, FieldsOf, LevelOf } from '../events.ts';
import { plainText } from '../text/plainText.ts';

/** One line of the log: an event of the catalogue, a sentence for a person, and the event's own fields. */
export type Log = <E extends EventName>(
  level: LevelOf<E>,
  event: E,
  message: string,
  fields: FieldsOf<E>,
) => void;

/** Syslog priorities, sd-daemon(3). */
const priorities: Readonly<Record<string, number>> = { error: 3, warn: 4, info: 6, debug: 7 };

/**
 * The log on standard output, one event a line.
 *
 * @param context fields of every line, once known
 */
export function createLog(
  level: LogLevel,
  style: LogFormat,
  context: () => Readonly<Record<string, unknown>>,
): Log {
  const logger = createLogger({
    level,
    levels: { error: 0, warn: 1, info: 2, debug: 3 },
    format: format.printf((entry) => (style === 'pretty' ? pretty : structured)(entry.line as Line, style)),
    transports: [new transports.Console({ stderrLevels: [] })],
  });
  // Ignore EPIPE from a closed log reader. Registered once for all logs.
  process.stdout.removeListener('error', ignore).on('error', ignore);
  return (lineLevel, event, message, fields) => {
    const line: Line = {
      timestamp: new Date().toISOString(),
      level: lineLevel,
      event,
      message: redact(message),
      ...known(context()),
      ...fields,
    };
    logger.log({ level: lineLevel, message: '', line: plain(line) });
  };
}

interface Line extends Record<string, unknown> {
  readonly timestamp: string;
  readonly level: string;
  readonly event: string;
  readonly message: string;
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
