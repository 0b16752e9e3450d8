import { pairs } from './deviceTimes.ts';
import type { Report } from './report.ts';

/** From and until, milliseconds since 1970; the end is not in it. */
export type Period = readonly [from: number, to: number];

/** One number for each of the two periods */
type Both = readonly [first: number, second: number];

export interface ComparisonRow {
  readonly kind: 'failures' | 'code' | 'version' | 'registered';
  /** The code or the version; null: all failures, or registrations */
  readonly name: string | null;
  /** Failures or registrations */
  readonly counts: Both;
  /** Devices that had any */
  readonly devices: Both;
}

export interface Comparison {
  readonly periods: readonly [Period, Period];
  /** What is counted begins and ends with such a step; milliseconds */
  readonly stepMs: number;
  readonly rows: readonly ComparisonRow[];
}

interface Sums {
  readonly counts: [number, number];
  readonly devices: [number, number];
}

/** Two periods next to each other: how often what happened, and to how many devices. */
export function comparePeriods(report: Report, periods: readonly [Period, Period]): Comparison {
  const { timeline, deviceBucketMs, devices } = report;
  const all = new Map<string, Sums>();
  const sumsOf = (key: string): Sums => {
    const known = all.get(key) ?? { counts: [0, 0], devices: [0, 0] };
    all.set(key, known);
    return known;
  };
  const indexes = [0, 1] as const;
  const isIn = (bucket: number, bucketMs: number, index: 0 | 1) => {
    const [from, to] = periods[index];
    return bucket * bucketMs >= from && bucket * bucketMs < to;
  };
  for (const [what, versions] of timeline.counts)
    for (const [version, buckets] of versions)
      for (const [bucket, amount] of buckets)
        for (const index of indexes)
          if (isIn(bucket, timeline.bucketMs, index))
            for (const key of keysOf(what, version)) sumsOf(key).counts[index] += amount;
  for (const { times } of devices)
    for (const index of indexes) {
      const own = times.filter(({ counts }) =>
        [...pairs(counts)].some(([bucket]) => isIn(bucket, deviceBucketMs, index)),
      );
      const keys = new Set(own.flatMap(({ what, version }) => keysOf(what, version)));
      for (const key of keys) sumsOf(key).devices[index]++;
    }
  const rows = [...all].map(([key, sums]) => ({ ...kindOf(key), ...sums }));
  return {
    periods,
    stepMs: Math.max(timeline.bucketMs, deviceBucketMs),
    rows: rows.sort(
      (a, b) => rank(a) - rank(b) || sum(b) - sum(a) || ((a.name ?? '') < (b.name ?? '') ? -1 : 1),
    ),
  };
}

function keysOf(what: string, version: string): string[] {
  if (what === 'registered') return ['registered'];
  return ['failures', `code ${what}`, ...(version === '' ? [] : [`version ${version}`])];
}

const kinds = ['failures', 'code', 'version', 'registered'] as const;

function kindOf(key: string): Pick<ComparisonRow, 'kind' | 'name'> {
  const at = key.indexOf(' ');
  const kind = (at < 0 ? key : key.slice(0, at)) as ComparisonRow['kind'];
  return { kind, name: at < 0 ? null : key.slice(at + 1) };
}

function rank({ kind }: ComparisonRow): number {
  return kinds.indexOf(kind);
}

function sum({ counts: [first, second] }: ComparisonRow): number {
  return first + second;
}

/**
 * @param text `FROM/UNTIL,FROM/UNTIL`, times such as `2026-11-24T06:00`, in UTC unless they say otherwise
 * @returns null if it is not that
 */
export function periodsOf(text: string): readonly [Period, Period] | null {
  const periods = text.split(',').map((part) => part.split('/').map(timeOf));
  const [first, second, ...more] = periods;
  return more.length === 0 && isPeriod(first) && isPeriod(second) ? [first, second] : null;
}

function timeOf(text: string): number {
  const isDay = /^\d{4}-\d\d-\d\d$/.test(text);
  const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?$/.test(text);
  if (!isDay && !isTime) return Number.NaN;
  return Date.parse(isDay || /(Z|[+-]\d\d:\d\d)$/.test(text) ? text : `${text}Z`);
}

function isPeriod(times: readonly number[] | undefined): times is [number, number] {
  const [from = Number.NaN, to = Number.NaN, ...more] = times ?? [];
  return more.length === 0 && from < to;
}
