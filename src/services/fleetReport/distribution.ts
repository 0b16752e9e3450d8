/** Durations, counted in buckets that grow by 2 %: quantiles to within that, in memory that does not grow. */
export interface Distribution {
  count: number;
  max: number;
  readonly buckets: number[];
}

const growth = Math.log(1.02);

export function newDistribution(): Distribution {
  return { count: 0, max: 0, buckets: [] };
}

/** @param ms milliseconds, 0 or more */
export function addDuration(distribution: Distribution, ms: number): void {
  const bucket = Math.floor(Math.log1p(ms) / growth);
  distribution.buckets[bucket] = (distribution.buckets[bucket] ?? 0) + 1;
  distribution.count++;
  if (ms > distribution.max) distribution.max = ms;
}

/** @param fraction such as 0.95. @returns milliseconds; 0 where nothing was counted */
export function quantile({ count, max, buckets }: Distribution, fraction: number): number {
  let left = Math.ceil(count * fraction);
  for (const [bucket, amount = 0] of buckets.entries()) {
    left -= amount;
    if (left <= 0) return Math.min(max, Math.round(Math.expm1((bucket + 0.5) * growth)));
  }
  return max;
}

/** How many lie in each of these ranges. @param edges ascending upper edges, milliseconds */
export function histogram({ buckets }: Distribution, edges: readonly number[]): number[] {
  const counts = edges.map(() => 0);
  for (const [bucket, amount = 0] of buckets.entries()) {
    if (amount === 0) continue;
    const ms = Math.expm1((bucket + 0.5) * growth);
    const edge = edges.findIndex((upper) => ms < upper);
    const index = edge < 0 ? edges.length - 1 : edge;
    counts[index] = (counts[index] ?? 0) + amount;
  }
  return counts;
}

export function addDistribution(into: Distribution, from: Distribution): void {
  for (const [bucket, amount = 0] of from.buckets.entries())
    if (amount > 0) into.buckets[bucket] = (into.buckets[bucket] ?? 0) + amount;
  into.count += from.count;
  into.max = Math.max(into.max, from.max);
}
