/** Bytes of a text that were read before, and what they were read as. */
export interface Interned<Value extends object | string | null> {
  /** @param hash `hashStart`, folded with each byte by `hashByte`. @returns what the bytes from `start` to `end` mean */
  get(bytes: Uint8Array, start: number, end: number, hash: number): Value;
  /** @returns undefined if they are not remembered */
  find(bytes: Uint8Array, start: number, end: number, hash: number): Value | undefined;
}

export const hashStart = 0x811c9dc5 | 0;
/** FNV-1a */
export const hashByte = (hash: number, byte: number): number => Math.imul(hash ^ byte, 0x01000193);

const firstSlots = 256;
/** Longer ones are not remembered. */
const longestText = 400;

/**
 * Most texts of a log come again and again: they are made once, and compared as bytes.
 *
 * @param most how many are remembered: a log may be forged
 * @param read of ASCII text
 */
export function newInterned<Value extends object | string | null>(
  most: number,
  read: (text: string) => Value,
): Interned<Value> {
  let slots = new Int32Array(firstSlots);
  let arena = new Uint8Array(8192);
  let filled = 0;
  const hashes: number[] = [];
  const begins: number[] = [];
  const values: Value[] = [];
  begins.push(0);

  function store(bytes: Uint8Array, start: number, end: number, hash: number): Value {
    const value = read(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1'));
    if (values.length >= most || end - start > longestText) return value;
    while (filled + end - start > arena.length) {
      const wider = new Uint8Array(arena.length * 2);
      wider.set(arena);
      arena = wider;
    }
    arena.set(bytes.subarray(start, end), filled);
    filled += end - start;
    begins.push(filled);
    hashes.push(hash);
    values.push(value);
    if (values.length * 2 > slots.length) grow();
    else place(hash, values.length);
    return value;
  }

  function grow(): void {
    slots = new Int32Array(slots.length * 4);
    for (const [index, hash] of hashes.entries()) place(hash, index + 1);
  }

  function place(hash: number, entry: number): void {
    const mask = slots.length - 1;
    let slot = spread(hash) & mask;
    while (slots[slot] !== 0) slot = (slot + 1) & mask;
    slots[slot] = entry;
  }

  function find(bytes: Uint8Array, start: number, end: number, hash: number): Value | undefined {
    const mask = slots.length - 1;
    const length = end - start;
    for (let slot = spread(hash) & mask; ; slot = (slot + 1) & mask) {
      const entry = slots[slot] as number;
      if (entry === 0) return undefined;
      if (hashes[entry - 1] !== hash) continue;
      const begin = begins[entry - 1] as number;
      if ((begins[entry] as number) - begin !== length) continue;
      let at = 0;
      while (at < length && arena[begin + at] === bytes[start + at]) at++;
      if (at === length) return values[entry - 1];
    }
  }

  return {
    find,
    get(bytes, start, end, hash) {
      const value = find(bytes, start, end, hash);
      return value === undefined ? store(bytes, start, end, hash) : value;
    },
  };
}

function spread(hash: number): number {
  return hash ^ (hash >>> 15);
}
