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
 * @param most how many texts are kept: a log may be forged; further ones are made anew each time
 */
export function newInterner<Value>(make: (text: string) => Value, most: number): Interner<Value> {
  const known = new Map<number, { readonly bytes: Uint8Array; readonly value: Value }[]>();
  let size = 0;
  return (bytes, start, end, hash) => {
    const bucket = known.get(hash);
    if (bucket !== undefined) {
      for (const entry of bucket) if (isSame(entry.bytes, bytes, start, end)) return entry.value;
    }
    const copy = Uint8Array.prototype.slice.call(bytes, start, end);
    const value = make(decoder.decode(copy));
    if (size >= most) return value;
    size++;
    if (bucket === undefined) known.set(hash, [{ bytes: copy, value }]);
    else bucket.push({ bytes: copy, value });
    return value;
  };
}

function isSame(known: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (known.length !== length) return false;
  for (let index = 0; index < length; index++) if (known[index] !== bytes[start + index]) return false;
  return true;
}
