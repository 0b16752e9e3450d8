import type { LogLine } from './logLine.ts';

/**
 * Which lines were seen, in 4 bytes a line: a hash of 32 bits at a place that another hash gives. Among ten million lines
 * about one in a hundred runs takes one line for another.
 */
export interface SeenLines {
  /** @returns false if an equal line was added before */
  add(line: LogLine): boolean;
  /** Lines that came when it was full and could not be compared */
  unchecked: number;
}

const firstSlots = 1 << 16;
/** 256 MiB */
const mostSlots = 1 << 26;

/**
 * @param shared a table that several threads fill, zeros at first, its length a power of two; without one the table grows
 */
export function newSeenLines(shared?: Int32Array): SeenLines {
  const tables: Table[] = [
    shared === undefined ? new Table(new Int32Array(firstSlots), false) : new Table(shared, true),
  ];
  const seen: SeenLines = {
    unchecked: 0,
    add(line) {
      fingerprint(line);
      for (let index = 0; index < tables.length - 1; index++)
        if ((tables[index] as Table).has(place, tag)) return false;
      let table = tables.at(-1) as Table;
      if (table.isFull) {
        if (table.has(place, tag)) return false;
        const size = table.slots.length * 2;
        if (shared !== undefined || size > mostSlots) {
          seen.unchecked++;
          return true;
        }
        table = new Table(new Int32Array(size), false);
        tables.push(table);
      }
      return table.add(place, tag);
    },
  };
  return seen;
}

/** Open addressing with linear probing; 0 is an empty slot. */
class Table {
  readonly slots: Int32Array;
  private used = 0;
  private readonly isShared: boolean;
  private readonly most: number;

  constructor(slots: Int32Array, isShared: boolean) {
    this.slots = slots;
    this.isShared = isShared;
    // Each of two threads counts its own.
    this.most = slots.length * (isShared ? 0.4 : 0.7);
  }

  get isFull(): boolean {
    return this.used >= this.most;
  }

  has(place: number, tag: number): boolean {
    const mask = this.slots.length - 1;
    for (let slot = place & mask; ; slot = (slot + 1) & mask) {
      const value = this.slots[slot];
      if (value === tag) return true;
      if (value === 0) return false;
    }
  }

  add(place: number, tag: number): boolean {
    const { slots } = this;
    const mask = slots.length - 1;
    for (let slot = place & mask; ; slot = (slot + 1) & mask) {
      const value = slots[slot];
      if (value === tag) return false;
      if (value !== 0) continue;
      if (this.isShared) {
        const before = Atomics.compareExchange(slots, slot, 0, tag);
        if (before === tag) return false;
        if (before !== 0) continue;
      } else slots[slot] = tag;
      this.used++;
      return true;
    }
  }
}

const hashPrime = 0x01000193;
const hashes = new Map<string, number>();
const mostHashes = 300_000;

function hashOf(text: string | null): number {
  if (text === null) return 0x5bd1e995;
  let hash = hashes.get(text);
  if (hash === undefined) {
    hash = hashText(text);
    if (hashes.size < mostHashes) hashes.set(text, hash);
  }
  return hash;
}

let place = 0;
let tag = 0;

/**
 * Sets `place` and `tag`. Of what the device wrote: the same line of two collectors is one. Two lines of one device in the
 * same millisecond with the same event, states, code and attempt are one too.
 */
function fingerprint(line: LogLine): void {
  const ms = line.at ?? line.received ?? 0;
  let hash = hashOf(line.deviceId ?? line.host);
  hash = fold(hash, ms | 0);
  hash = fold(hash, Math.floor(ms / 2 ** 32));
  hash = fold(hash, hashOf(line.event));
  hash = fold(hash, hashOf(line.runId));
  hash = fold(hash, hashOf(line.from));
  hash = fold(hash, hashOf(line.to));
  hash = fold(hash, hashOf(line.state));
  hash = fold(hash, hashOf(line.code));
  hash = fold(hash, hashOf(line.reason));
  hash = fold(hash, line.attempt ?? -1);
  hash = fold(hash, line.durationMs ?? -1);
  place = mixed(hash ^ ms) >>> 0;
  tag = mixed(hash + 0x9e3779b9 + Math.imul(ms, 0x85ebca6b)) || 1;
}

function fold(hash: number, part: number): number {
  return Math.imul(hash ^ part, hashPrime) ^ (hash >>> 15);
}

/** FNV-1a of the text's code units. */
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++)
    hash = Math.imul(hash ^ text.charCodeAt(index), hashPrime);
  return hash;
}

/** The finalizer of MurmurHash3. */
function mixed(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
