import { randomUUID } from 'node:crypto';
import { systemClock } from '../adapters/clock.ts';
import { createLog, type Log } from '../adapters/logger.ts';
import { journalWriter, sendTo } from '../adapters/nativeJournal.ts';
import { passedSockets } from '../adapters/passedDescriptors.ts';
import type { LogFormat, LogLevel } from '../config/schema.ts';
import { summarised } from '../daemon/repeatedLines.ts';
import { type EventEntry, events } from '../events.ts';
import { isUtf8Locale, toAscii } from './format/terminal.ts';

/** The log of one start of the daemon. */
export interface RunLog {
  readonly log: Log;
  /** From the next line on. At the level `debug`, repeated lines are all written. */
  use(level: LogLevel, format: LogFormat): void;
}

const messageIds = Object.fromEntries(
  Object.entries<EventEntry>(events).map(([name, { messageId }]) => [name, messageId]),
);

/** @param context fields of every line, once known */
export function createRunLog(
  version: string,
  format: LogFormat,
  context: () => Readonly<Record<string, unknown>>,
): RunLog {
  const run = { version, runId: randomUUID().replaceAll('-', '') };
  const socket = passedSockets(process.env).get('journal');
  const journal = socket === undefined ? null : { write: journalWriter(sendTo(socket)), messageIds };
  const inCharset = isUtf8Locale(process.env) ? (line: string) => line : toAscii;
  const open = (level: LogLevel, style: LogFormat) =>
    createLog({ level, style, inCharset, run, context, journal });
  let write = open('info', format);
  let isDebugging = false;
  const whole: Log = (...line) => write(...line);
  const brief = summarised(whole, systemClock.monotonic);
  return {
    log: (...line) => (isDebugging ? whole : brief)(...line),
    use(level, style) {
      write = open(level, style);
      isDebugging = level === 'debug';
    },
  };
}
