/** Events over time: name → version → bucket → how many. Memory is bounded: the resolution halves as the span grows. */
export interface Timeline {
  /** Width of a bucket */
  bucketMs: number;
  entries: number;
  counts: Map<string, Map<string, Map<number, number>>>;
}

const finestMs = 60_000;
const mostEntries = 60_000;

export function newTimeline(): Timeline {
  return { bucketMs: finestMs, entries: 0, counts: new Map() };
}

/** @param at milliseconds since 1970. @param version '' if it is not known */
export function addToTimeline(
  timeline: Timeline,
  name: string,
  version: string,
  [at, amount]: [number, number],
): void {
  add(timeline, name, version, [Math.floor(at / timeline.bucketMs), amount]);
  while (timeline.entries > mostEntries) coarsen(timeline, timeline.bucketMs * 2);
}

/** The result depends only on what was counted: a set of moments needs the same resolution in any order. */
export function mergeTimeline(into: Timeline, from: Timeline): void {
  const bucketMs = Math.max(into.bucketMs, from.bucketMs);
  if (into.bucketMs < bucketMs) coarsen(into, bucketMs);
  const factor = bucketMs / from.bucketMs;
  for (const [name, versions] of from.counts)
    for (const [version, buckets] of versions)
      for (const [bucket, amount] of buckets) add(into, name, version, [Math.floor(bucket / factor), amount]);
  while (into.entries > mostEntries) coarsen(into, into.bucketMs * 2);
}

function coarsen(timeline: Timeline, bucketMs: number): void {
  const { counts, bucketMs: before } = timeline;
  Object.assign(timeline, { bucketMs, entries: 0, counts: new Map() });
  for (const [name, versions] of counts)
    for (const [version, buckets] of versions)
      for (const [bucket, amount] of buckets)
        add(timeline, name, version, [Math.floor((bucket * before) / bucketMs), amount]);
}

function add(timeline: Timeline, name: string, version: string, [bucket, amount]: [number, number]): void {
  const versions = timeline.counts.get(name) ?? new Map<string, Map<number, number>>();
  const buckets = versions.get(version) ?? new Map<number, number>();
  const known = buckets.get(bucket);
  if (known === undefined) timeline.entries++;
  buckets.set(bucket, (known ?? 0) + amount);
  versions.set(version, buckets);
  timeline.counts.set(name, versions);
}
