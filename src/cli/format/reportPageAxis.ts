import type { Report } from '../../services/fleetReport/report.ts';

/** The page's axis of time: bars of the same width, milliseconds. */
export interface Axis {
  /** Of the first bar, since 1970 */
  readonly begin: number;
  readonly barMs: number;
  readonly bars: number;
}

const mostDrawn = 120;
const mostCompared = 480;

/** Fine bars, of which periods are made, and so many of them make a bar that is drawn; null: no line has a time to be believed. */
export function pageAxis(report: Report): { readonly fine: Axis; readonly perDrawn: number } | null {
  const { first, last, timeline, deviceBucketMs } = report;
  if (first === null || last === null) return null;
  const stepMs = Math.max(timeline.bucketMs, deviceBucketMs);
  const begin = Math.floor(first / stepMs);
  const steps = Math.floor(last / stepMs) - begin + 1;
  const perFine = Math.ceil(steps / mostCompared);
  const bars = Math.ceil(steps / perFine);
  return {
    fine: { begin: begin * stepMs, barMs: perFine * stepMs, bars },
    perDrawn: Math.ceil(bars / mostDrawn),
  };
}

/** What is drawn: at least two bars. */
export function drawnAxis({ fine, perDrawn }: NonNullable<ReturnType<typeof pageAxis>>): Axis {
  const bars = Math.max(2, Math.ceil(fine.bars / perDrawn));
  return { begin: fine.begin, barMs: fine.barMs * perDrawn, bars };
}

/**
 * Amounts of buckets as amounts of bars.
 *
 * @param entries numbers of buckets since 1970, and amounts
 * @returns bar → amount; a moment of another month was found to be of a wrong clock, and is left out
 */
export function toBars(
  { begin, barMs, bars }: Axis,
  bucketMs: number,
  entries: Iterable<readonly [number, number]>,
): Map<number, number> {
  const counts = new Map<number, number>();
  for (const [bucket, amount] of entries) {
    const bar = Math.floor((bucket * bucketMs - begin) / barMs);
    if (bar >= 0 && bar < bars) counts.set(bar, (counts.get(bar) ?? 0) + amount);
  }
  return counts;
}
