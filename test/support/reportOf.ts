import { newLogReader } from '../../src/services/fleetReport/readLog.ts';
import { type Report, summarize } from '../../src/services/fleetReport/report.ts';
import { newCounter, newTally, type Scope, type Tally } from '../../src/services/fleetReport/tally.ts';

export const hour = 3_600_000;
export const scope: Scope = { latest: Date.UTC(2026, 11, 31), since: null, device: null };

export function tallyOf(lines: Iterable<string>, change: Partial<Scope> = {}): Tally {
  const tally = newTally();
  const reader = newLogReader(newCounter(tally, { ...scope, ...change }));
  const text = new TextEncoder();
  for (const line of lines) reader.push(text.encode(`${line}\n`));
  reader.end();
  return tally;
}

/** The report of lines, as `onboardd report` makes it. */
export function reportOf(lines: Iterable<string>, change: Partial<Scope> = {}): Report {
  return summarize(tallyOf(lines, change), hour);
}

/** A line as onboardd writes it. */
export function logLine(fields: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({
    timestamp: '2026-11-24T00:00:00.000Z',
    level: 'info',
    message: 'm',
    deviceId: 'd',
    ...fields,
  });
}
