import fc from 'fast-check';
import { expect, test } from 'vitest';
import { reportLines } from '../../../../src/cli/format/report.ts';
import {
  type ComparisonRow,
  comparePeriods,
  type Period,
  periodsOf,
} from '../../../../src/services/fleetReport/comparison.ts';
import { summarize } from '../../../../src/services/fleetReport/report.ts';
import { mergeTally, newTally } from '../../../../src/services/fleetReport/tally.ts';
import { fleetWithEvents } from '../../../support/fleetLogs.ts';
import { hour, logLine as line, reportOf, tallyOf } from '../../../support/reportOf.ts';

const day = Date.UTC(2026, 10, 24);
const at = (minutes: number) => new Date(day + minutes * 60_000).toISOString();
const fails = (deviceId: string | undefined, minutes: number, more: object = {}) =>
  line({ event: 'step.failed', code: 'NATS_TLS', version: '1', deviceId, timestamp: at(minutes), ...more });
const periods: readonly [Period, Period] = [
  [day, day + hour],
  [day + hour, day + 3 * hour],
];
const row = (rows: readonly ComparisonRow[], kind: string, name: string | null = null) => {
  const found = rows.find((one) => one.kind === kind && one.name === name);
  return found && [found.counts, found.devices];
};

const lines = [
  ...[1, 2, 3, 4, 5].map((minutes) => fails('a', minutes)),
  fails('b', 59),
  fails('b', 60, { version: '2' }),
  fails('b', 61, { version: '2', repeated: 9 }),
  fails('c', 179, { code: 'NATS_DENIED' }),
  fails('c', 180),
  line({ event: 'device.registered', version: '2', deviceId: 'b', timestamp: at(90) }),
];

test('two periods are compared by how often something failed, and by how many devices it befell', () => {
  const { rows, stepMs } = comparePeriods(reportOf(lines), periods);
  expect(stepMs).toBe(60_000);
  expect(row(rows, 'failures')).toEqual([
    [6, 12],
    [2, 2],
  ]);
  expect(row(rows, 'code', 'NATS_TLS')).toEqual([
    [6, 11],
    [2, 1],
  ]);
  expect(row(rows, 'code', 'NATS_DENIED')).toEqual([
    [0, 1],
    [0, 1],
  ]);
  expect(row(rows, 'version', '1')).toEqual([
    [6, 1],
    [2, 1],
  ]);
  expect(row(rows, 'version', '2')).toEqual([
    [0, 11],
    [0, 1],
  ]);
  expect(row(rows, 'registered')).toEqual([
    [0, 1],
    [0, 1],
  ]);
});

test('a wrong clock, and a line without a device, befall no device', () => {
  const odd = [fails('a', 1), fails(undefined, 2), fails('z', 3, { timestamp: '1970-01-01T00:00:01.000Z' })];
  const { rows } = comparePeriods(reportOf(odd), periods);
  expect(row(rows, 'failures')).toEqual([
    [2, 0],
    [1, 0],
  ]);
});

test('the order of lines, and on how many threads they are read, does not matter to a comparison', () => {
  const all = [...fleetWithEvents(12, 3), ...lines];
  const begin = Date.UTC(2026, 10, 20, 6);
  const both: readonly [Period, Period] = [
    [begin, begin + 5.5 * hour],
    [begin + 5.5 * hour, day + 3 * hour],
  ];
  const expected = comparePeriods(reportOf(all), both);
  expect(row(expected.rows, 'code', 'PROVISIONING_TIMEOUT')?.[1]?.[0]).toBeGreaterThan(5);
  fc.assert(
    fc.property(fc.shuffledSubarray(all, { minLength: all.length }), fc.nat(all.length), (shuffled, cut) => {
      const merged = newTally();
      for (const part of [shuffled.slice(0, cut), shuffled.slice(cut)]) mergeTally(merged, tallyOf(part));
      expect(comparePeriods(summarize(merged, hour), both)).toEqual(expected);
    }),
    { numRuns: 20 },
  );
});

test('a device that fails for weeks takes bounded memory, and is told by coarser steps', () => {
  const weeks = Array.from({ length: 5_000 }, (_, index) => fails('a', index * 7));
  const report = reportOf(weeks);
  const [times] = report.devices[0]?.times ?? [];
  expect(times?.counts.length).toBeLessThanOrEqual(2 * 1_024);
  expect(report.deviceBucketMs).toBeGreaterThan(60_000);
  const whole: Period = [day, day + 5_000 * 7 * 60_000];
  const [first = 0, ...more] = (times?.counts ?? []).filter((_, index) => index % 2 === 0);
  expect(first).toBe(Math.floor(day / report.deviceBucketMs));
  expect(more.at(-1)).toBe(Math.floor((day + 4_999 * 7 * 60_000) / report.deviceBucketMs));
  expect(row(comparePeriods(report, [whole, whole]).rows, 'failures')).toEqual([
    [5_000, 5_000],
    [1, 1],
  ]);
  const backwards = reportOf([...weeks].reverse());
  expect(backwards.devices[0]?.times).toEqual(report.devices[0]?.times);
});

test('the text tells failures an hour, and devices, of each period', () => {
  const report = reportOf(lines);
  const text = reportLines(report, hour, undefined, comparePeriods(report, periods));
  const begin = text.findIndex((one) => one.startsWith('Two periods: '));
  expect(text.slice(begin, begin + 4)).toEqual([
    'Two periods: 2026-11-24 00:00 to 2026-11-24 01:00, and 2026-11-24 01:00 to 2026-11-24 03:00, failures an hour (/h) and devices, in steps of 1 min',
    '                1st/h  devices  2nd/h  devices',
    '  all failures    6.0        2    6.0        2',
    '  NATS_TLS        6.0        2    5.5        1',
  ]);
  expect(text).toContain('Errors: 3 of 3 devices failed at least once');
});

test.each([
  ['2026-11-24T06:00/2026-11-24T07:00,2026-11-24/2026-11-25', 6 * hour, 24 * hour],
  ['2026-11-24T06:00:00.5Z/2026-11-24T07:00,2026-11-24T01:00+01:00/2026-11-25', 6 * hour + 500, 24 * hour],
])('%s are two periods', (text, from, until) => {
  const [first, second] = periodsOf(text) ?? [];
  expect([first?.[0], second?.[1]]).toEqual([day + from, day + until]);
  expect(second?.[0]).toBe(day);
});

test.each([
  '',
  '2026-11-24T06:00/2026-11-24T07:00',
  '2026-11-24T07:00/2026-11-24T06:00,2026-11-24/2026-11-25',
  '2026-11-24T06:00/2026-11-24T06:00,2026-11-24/2026-11-25',
  '2026-11-24/2026-11-25,2026-11-24/2026-11-25,2026-11-24/2026-11-25',
  '2026-11-24/2026-11-25/2026-11-26,2026-11-24/2026-11-25',
  '2026-13-24/2027-11-25,2026-11-24/2026-11-25',
  'yesterday/today,2026-11-24/2026-11-25',
])('"%s" is no pair of periods', (text) => {
  expect(periodsOf(text)).toBeNull();
});
