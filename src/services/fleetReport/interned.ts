export const hashStart = 0x811c9dc5 | 0;
/** FNV-1a */
export const hashByte = (hash: number, byte: number): number => Math.imul(hash ^ byte, 0x01000193);

const firstSlots = 256;
/** Longer ones are not remembered. */
const longestText = 400;

/** Most texts of a log come again and again: they are made once, and compared as bytes. */
export class Interned<Value extends object | string | null> {
  private readonly most: number;
  private readonly read: (text: string) => Value;
  private slots = new Int32Array(firstSlots);
  /** The texts, one behind the other; each begins at `begins` */
  private arena = new Uint8Array(8192);
  private readonly begins: number[] = [0];
  private readonly hashes: number[] = [];
  private readonly values: Value[] = [];

  /**
   * @param most how many are remembered: a log may be forged
   * @param read of ASCII text
   */
  constructor(most: number, read: (text: string) => Value) {
    this.most = most;
    this.read = read;
  }

  /** @param hash `hashStart`, folded with each byte by `hashByte`. @returns what the bytes from `start` to `end` mean */
  get(bytes: Uint8Array, start: number, end: number, hash: number): Value {
    const value = this.find(bytes, start, end, hash);
    return value === undefined ? this.store(bytes.subarray(start, end), hash) : value;
  }

  /** @returns undefined if they are not remembered */
  find(bytes: Uint8Array, start: number, end: number, hash: number): Value | undefined {
    const { slots, hashes, begins, arena } = this;
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
      if (at === length) return this.values[entry - 1];
    }
  }

  private store(text: Uint8Array, hash: number): Value {
    const value = this.read(Buffer.from(text.buffer, text.byteOffset, text.length).toString('latin1'));
    if (this.values.length >= this.most || text.length > longestText) return value;
    const filled = this.begins.at(-1) as number;
    if (filled + text.length > this.arena.length) {
      const wider = new Uint8Array(this.arena.length * 2);
      wider.set(this.arena);
      this.arena = wider;
    }
    this.arena.set(text, filled);
    this.begins.push(filled + text.length);
    this.hashes.push(hash);
    this.values.push(value);
    if (this.values.length * 2 <= this.slots.length) this.place(hash, this.values.length);
    else {
      this.slots = new Int32Array(this.slots.length * 4);
      for (const [index, known] of this.hashes.entries()) this.place(known, index + 1);
    }
    return value;
  }

  private place(hash: number, entry: number): void {
    const mask = this.slots.length - 1;
    let slot = spread(hash) & mask;
    while (this.slots[slot] !== 0) slot = (slot + 1) & mask;
    this.slots[slot] = entry;
  }
}

function spread(hash: number): number {
  return hash ^ (hash >>> 15);
}
