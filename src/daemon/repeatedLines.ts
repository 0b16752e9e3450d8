import type { Log } from '../adapters/logger.ts';
import type { EventName } from '../events.ts';

/** What the log has said since the device last got on. Times are milliseconds of the monotonic clock. */
export interface Memory {
  readonly lines: ReadonlyMap<string, { readonly written: number; readonly leftOut: number }>;
  /** When the next repeated failure is due */
  readonly dueAt: number;
  /** How long the log is silent after it */
  readonly gapMs: number;
  /** Until when whatever belongs to the last repeated failure is written, too */
  readonly openUntil: number;
}

/** How often the same line is written before it is thinned. */
const atOnce = 4;
const firstGapMs = 1_000;
const longestGapMs = 3_600_000;
const openMs = 50;

export const nothingWritten: Memory = { lines: new Map(), dueAt: 0, gapMs: firstGapMs, openUntil: 0 };

/** These say that the device got on: what fails after them is news. */
const progress: ReadonlySet<EventName> = new Set([
  'device.registered',
  'certificate.renewed',
  'config.reloaded',
]);

/** What makes two lines the same; null: the line is always written. */
function keyOf(event: EventName, fields: Readonly<Record<string, unknown>>): string | null {
  const { step, code, reason, level, from, to } = fields;
  switch (event) {
    case 'step.failed':
      return step === 'reload' ? null : JSON.stringify([event, step, code, reason, level]);
    case 'device.failed':
    case 'address.refused':
    case 'certificate.useless':
      return JSON.stringify([event, code]);
    case 'certificate.issued':
      return event;
    case 'state.changed':
      return JSON.stringify([event, from, to]);
    default:
      return null;
  }
}

/**
 * Decides whether a line is written. The same failure is written a few times at once, then after gaps that double up to
 * an hour, so that an outage of a day leaves fewer than 100 lines; a change of state that goes round in circles only the
 * first few times. A failure whose level rises is another one.
 *
 * @returns `repeated`: how many such lines were left out since the last one; null: this one is left out, too
 */
export function thinned(
  memory: Memory,
  event: EventName,
  fields: Readonly<Record<string, unknown>>,
  now: number,
): { readonly memory: Memory; readonly repeated: number | null } {
  if (progress.has(event)) return { memory: nothingWritten, repeated: 0 };
  const key = keyOf(event, fields);
  if (key === null) return { memory, repeated: 0 };
  const { written, leftOut } = memory.lines.get(key) ?? { written: 0, leftOut: 0 };
  const isDue = now >= memory.dueAt;
  const isWritten = written < atOnce || (event !== 'state.changed' && (isDue || now < memory.openUntil));
  const line = isWritten ? { written: written + 1, leftOut: 0 } : { written, leftOut: leftOut + 1 };
  const lines = new Map(memory.lines).set(key, line);
  const startsGap = isWritten && written >= atOnce && isDue;
  const gap = startsGap && {
    dueAt: now + memory.gapMs,
    gapMs: Math.min(2 * memory.gapMs, longestGapMs),
    openUntil: now + openMs,
  };
  return { memory: { ...memory, lines, ...gap }, repeated: isWritten ? leftOut : null };
}

/** The log without the lines that `thinned` leaves out. @param monotonic milliseconds */
export function summarised(write: Log, monotonic: () => number): Log {
  let memory = nothingWritten;
  return (level, event, message, fields) => {
    const { memory: next, repeated } = thinned(memory, event, { ...fields, level }, monotonic());
    memory = next;
    if (repeated !== null) write(level, event, message, repeated === 0 ? fields : { ...fields, repeated });
  };
}
