/**
 * Reads texts that come again and again from bytes, without making a string each time.
 *
 * @param hash FNV-1a of these bytes
 */
export type Interner<Value> = (bytes: Uint8Array, start: number, end: number, hash: number) => Value;

const decoder = new TextDecoder();
export const hashSeed = 0x811c9dc5;
export const hashPrime = 0x01000193;

/** FNV-1a of a text's code units; for ASCII the same as that of its bytes. */
export function hashText(text: string): number {
  let hash = hashSeed;
  for (let index = 0; index < text.length; index++)
    hash = Math.imul(hash ^ text.charCodeAt(index), hashPrime);
  return hash;
}

/**
 * @param make what a text is kept as, called once for each text
 * @param most how many texts are kept, a power of two: a log may be forged; further ones are made anew each time
 */
export function newInterner<Value>(make: (text: string) => Value, most: number): Interner<Value> {
  // Open addressing with linear probing, at most half full; 0 is an empty slot.
  let slots = new Int32Array(256);
  const hashes: number[] = [0];
  const keys: Uint8Array[] = [new Uint8Array(0)];
  const values: (Value | undefined)[] = [undefined];

  function grow(): void {
    const bigger = new Int32Array(slots.length * 4);
    const mask = bigger.length - 1;
    for (let entry = 1; entry < keys.length; entry++) {
      let slot = (hashes[entry] as number) & mask;
      while (bigger[slot] !== 0) slot = (slot + 1) & mask;
      bigger[slot] = entry;
    }
    slots = bigger;
  }

  return (bytes, start, end, hash) => {
    const mask = slots.length - 1;
    let slot = hash & mask;
    for (let entry = slots[slot]; entry !== 0; entry = slots[slot]) {
      if (hashes[entry as number] === hash && isSame(keys[entry as number] as Uint8Array, bytes, start, end))
        return values[entry as number] as Value;
      slot = (slot + 1) & mask;
    }
    const copy = Uint8Array.prototype.slice.call(bytes, start, end);
    const value = make(decoder.decode(copy));
    if (keys.length > most) return value;
    slots[slot] = keys.length;
    hashes.push(hash);
    keys.push(copy);
    values.push(value);
    if (keys.length * 2 > slots.length) grow();
    return value;
  };
}

export function isSame(known: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (known.length !== length) return false;
  for (let index = 0; index < length; index++) if (known[index] !== bytes[start + index]) return false;
  return true;
}
