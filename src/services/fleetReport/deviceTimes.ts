/**
 * Failures of a code, or registrations, of one device and one version over time: `[bucket, amount, bucket, amount, ...]` in
 * order of time. A bucket is a number of `bucketMs` since 1970.
 */
export interface DeviceTimes {
  /** An error code, or `registered` */
  readonly what: string;
  /** '' if it is not known */
  readonly version: string;
  counts: number[];
}

/** Shared by all devices of a tally. Memory is bounded: the resolution halves as more is counted. */
export interface Resolution {
  bucketMs: number;
  /** Buckets of all devices */
  entries: number;
  /** Buckets of the device that has most of one kind */
  longest: number;
}

export const finestResolution = (): Resolution => ({ bucketMs: finestMs, entries: 0, longest: 0 });

const finestMs = 60_000;
/** Three months: from there on only the number of devices counts. */
const coarsestMs = finestMs * 2 ** 17;
const mostEntries = 1_000_000;
/** More bars than the page draws */
const mostOfOne = 1_024;
/** Codes and versions of one device: a log may be forged. */
const mostKinds = 64;

type Timed = ReadonlyMap<string, { readonly times: DeviceTimes[] }>;

/** @param at milliseconds since 1970 */
export function addToDevice(
  resolution: Resolution,
  times: DeviceTimes[],
  { what, version }: Pick<DeviceTimes, 'what' | 'version'>,
  [at, amount]: readonly [number, number],
): void {
  let own = times.find((one) => one.what === what && one.version === version);
  if (own === undefined) {
    if (times.length >= mostKinds) return;
    own = { what, version, counts: [] };
    times.push(own);
  }
  const before = own.counts.length;
  add(own.counts, Math.floor(at / resolution.bucketMs), amount);
  if (own.counts.length === before) return;
  resolution.entries++;
  resolution.longest = Math.max(resolution.longest, own.counts.length / 2);
}

/** Both have the same resolution. */
export function mergeTimes(into: DeviceTimes[], from: readonly DeviceTimes[]): void {
  for (const { what, version, counts } of from) {
    const own = into.find((one) => one.what === what && one.version === version);
    if (own === undefined) {
      if (into.length < mostKinds) into.push({ what, version, counts: [...counts] });
    } else for (const [bucket, amount] of pairs(counts)) add(own.counts, bucket, amount);
  }
}

/** Halves the resolution until memory is within its bounds. What was counted decides, and not the order in which it came. */
export function boundTimes(resolution: Resolution, devices: Timed): void {
  while (isTooFine(resolution)) coarsenTimes(resolution, devices, resolution.bucketMs * 2);
}

function isTooFine({ entries, longest, bucketMs }: Resolution): boolean {
  return bucketMs < coarsestMs && (entries > mostEntries || longest > mostOfOne);
}

/** @param bucketMs a multiple of the width so far */
export function coarsenTimes(resolution: Resolution, devices: Timed, bucketMs: number): void {
  const factor = bucketMs / resolution.bucketMs;
  Object.assign(resolution, { bucketMs, entries: 0, longest: 0 });
  for (const { times } of devices.values())
    for (const own of times) {
      const counts: number[] = [];
      for (const [bucket, amount] of pairs(own.counts)) add(counts, Math.floor(bucket / factor), amount);
      own.counts = counts;
      resolution.entries += counts.length / 2;
      resolution.longest = Math.max(resolution.longest, counts.length / 2);
    }
}

export function* pairs(counts: readonly number[]): Generator<[bucket: number, amount: number]> {
  for (let index = 0; index < counts.length; index += 2)
    yield [counts[index] as number, counts[index + 1] as number];
}

/** Lines come mostly in order of time: the last bucket is looked at first. */
function add(counts: number[], bucket: number, amount: number): void {
  let index = counts.length - 2;
  while (index >= 0 && (counts[index] as number) > bucket) index -= 2;
  if (index >= 0 && counts[index] === bucket) counts[index + 1] = (counts[index + 1] as number) + amount;
  else counts.splice(index + 2, 0, bucket, amount);
}
