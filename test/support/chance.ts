/** A source of numbers, uniform in [0, 1), the same for the same seed and name on every machine. */
export type Chance = () => number;

/** Sources of different names do not disturb each other: what one part draws, no other part misses. */
export function chanceOf(seed: number, name: string): Chance {
  let state = seed ^ 0x9e3779b9;
  for (const character of name)
    state = Math.imul(state ^ character.charCodeAt(0), 0x85ebca6b) ^ (state >>> 13);
  // mulberry32
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function pick<T>(chance: Chance, items: readonly T[]): T {
  return items[Math.floor(chance() * items.length)] as T;
}

export function wholeBetween(chance: Chance, least: number, most: number): number {
  return least + Math.floor(chance() * (most - least + 1));
}

/** Small values as likely as large ones: uniform in the logarithm. */
export function scaleBetween(chance: Chance, least: number, most: number): number {
  return Math.round(least * (most / least) ** chance());
}
