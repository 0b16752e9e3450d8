/** A random number in [0, 1) for each call, the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** So many of the items, each at most once, in their order. */
export function sample<T>(items: readonly T[], count: number, random: () => number): T[] {
  const left = items.map((_, index) => index);
  while (left.length > Math.max(0, count)) left.splice(Math.floor(random() * left.length), 1);
  return left.map((index) => items[index] as T);
}

/** Works on the items, so many at a time. */
export async function inParallel<T>(
  items: readonly T[],
  jobs: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const item = items[next++] as T;
      await work(item);
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
}
