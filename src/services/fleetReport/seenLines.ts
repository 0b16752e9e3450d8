import type { LogLine } from './logLine.ts';

/**
 * Which lines were seen, in 4 bytes a line: a hash of 32 bits at a place that another hash gives. Among ten million lines
 * about one in a hundred runs takes one line for another.
 */
export interface SeenLines {
  /** @returns false if an equal line was added before */
  add(line: LogLine): boolean;
  /** Lines that this one added to the newest table */
  readonly used: number;
  readonly tables: readonly Int32Array[];
  /** Adds a table, all zeros, which takes what is added from now on. */
  extend(table: Int32Array): void;
  /** Lines that came when it was full and could not be compared */
  readonly unchecked: number;
}

const firstSlots = 1 << 16;
/** 256 MiB */
export const mostSlots = 1 << 26;
/** How full a table may be */
const fullest = 0.7;

/** @param lines about so many. @returns a table that several threads can fill at once */
export function newSharedTable(lines: number): Int32Array {
  const slots = 2 ** Math.ceil(Math.log2(Math.max(1, lines) / fullest));
  return new Int32Array(new SharedArrayBuffer(4 * Math.min(mostSlots, Math.max(firstSlots, slots))));
}

/** @param added lines at most that are in it, or may come. @returns whether it needs another one beside it */
export function isFull({ length }: Int32Array, added: number): boolean {
  return length < mostSlots && added > length * fullest;
}

/** @param tables that several threads fill, their length a power of two; without them one table grows by itself */
export function newSeenLines(tables?: readonly Int32Array[]): SeenLines {
  const isShared = tables !== undefined;
  const slots: Int32Array[] = isShared ? [...tables] : [new Int32Array(firstSlots)];
  let [used, unchecked] = [0, 0];
  const extend = (table: Int32Array) => {
    slots.push(table);
    used = 0;
  };
  return {
    extend,
    tables: slots,
    get used() {
      return used;
    },
    get unchecked() {
      return unchecked;
    },
    add(line) {
      fingerprint(line);
      const newest = slots.length - 1;
      for (let index = 0; index < newest; index++) if (has(slots[index] as Int32Array)) return false;
      const table = slots[newest] as Int32Array;
      if (!isShared && isFull(table, used + 1)) {
        if (has(table)) return false;
        extend(new Int32Array(table.length * 2));
      }
      const added = add(slots.at(-1) as Int32Array, isShared);
      if (added === 'full') unchecked++;
      else if (added === 'new') used++;
      return added !== 'known';
    },
  };
}

/** Open addressing with linear probing; 0 is an empty slot. So many probes are needed only by a table that is full. */
const mostProbes = 4096;

function has(slots: Int32Array): boolean {
  const mask = slots.length - 1;
  for (let probe = 0; probe < mostProbes; probe++) {
    const value = slots[(place + probe) & mask];
    if (value === tag) return true;
    if (value === 0) return false;
  }
  return false;
}

function add(slots: Int32Array, isShared: boolean): 'new' | 'known' | 'full' {
  const mask = slots.length - 1;
  for (let probe = 0; probe < mostProbes; probe++) {
    const slot = (place + probe) & mask;
    const value = slots[slot];
    if (value === tag) return 'known';
    if (value !== 0) continue;
    // Another thread may have been faster.
    const before = isShared ? Atomics.compareExchange(slots, slot, 0, tag) : 0;
    if (before === tag) return 'known';
    if (before !== 0) continue;
    slots[slot] = tag;
    return 'new';
  }
  return 'full';
}

const hashPrime = 0x01000193;
const noText = 0x5bd1e995;

/** Most texts come again and again; words and ids apart, as there are few words. */
function newHasher(most: number): (text: string | null) => number {
  const hashes = new Map<string, number>();
  return (text) => {
    if (text === null) return noText;
    let hash = hashes.get(text);
    if (hash === undefined) {
      hash = hashText(text);
      if (hashes.size < most) hashes.set(text, hash);
    }
    return hash;
  };
}

const hashOfId = newHasher(300_000);
const hashOfWord = newHasher(4096);

let place = 0;
let tag = 0;

/**
 * Sets `place` and `tag`. Of what the device wrote: the same line of two collectors is one. Two lines of one device in the
 * same millisecond and run with the same event, states, code, reason, attempt and duration are one too.
 */
function fingerprint(line: LogLine): void {
  const ms = line.at ?? line.received ?? 0;
  let hash = hashOfId(line.deviceId ?? line.host);
  hash = fold(hash, ms | 0);
  hash = fold(hash, Math.floor(ms / 2 ** 32));
  hash = fold(hash, hashOfWord(line.event));
  hash = fold(hash, hashOfId(line.runId));
  hash = fold(hash, hashOfWord(line.from));
  hash = fold(hash, hashOfWord(line.to));
  hash = fold(hash, hashOfWord(line.code));
  hash = fold(hash, hashOfWord(line.reason));
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
