/** Writes DER (X.690), for certificates that no library would make. */

/** A type with its content, however long. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const bytes: number[] = [];
  for (let rest = content.length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  const length = content.length < 0x80 ? [content.length] : [0x80 | bytes.length, ...bytes];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

export const sequence = (...parts: readonly Uint8Array[]) => der(0x30, ...parts);
export const set = (...parts: readonly Uint8Array[]) => der(0x31, ...parts);
export const octets = (...parts: readonly Uint8Array[]) => der(0x04, ...parts);
export const none = der(0x05);
export const truth = der(0x01, Buffer.from([0xff]));
export const utf8 = (text: string) => der(0x0c, Buffer.from(text));
export const printable = (text: string) => der(0x13, Buffer.from(text, 'latin1'));
/** [number], constructed: what is tagged explicitly, or a SEQUENCE tagged implicitly. */
export const tagged = (number: number, ...parts: readonly Uint8Array[]) => der(0xa0 | number, ...parts);
/** [number] of a text, as a GeneralName holds it (RFC 5280, 4.2.1.6). */
export const taggedText = (number: number, text: string) => der(0x80 | number, Buffer.from(text, 'latin1'));

/** A number from 0 to 127, or the bytes of one that is positive. */
export const integer = (value: number | Uint8Array) =>
  der(0x02, typeof value === 'number' ? Buffer.from([value]) : value);

/** @param bits from the most significant on; trailing zeros go, as in a list of named bits */
export function namedBits(bits: number): Buffer {
  let unused = 0;
  while (unused < 7 && ((bits >> unused) & 1) === 0) unused++;
  return der(0x03, Buffer.from([unused, bits]));
}

export const wholeBytes = (bytes: Uint8Array) => der(0x03, Buffer.from([0]), bytes);

export function objectId(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const base128 = (value: number): number[] => {
    const bytes = [value % 128];
    for (let left = Math.floor(value / 128); left > 0; left = Math.floor(left / 128))
      bytes.unshift((left % 128) | 0x80);
    return bytes;
  };
  return der(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

/** UTCTime up to 2049, GeneralizedTime from then on (RFC 5280, 4.1.2.5). */
export function time(date: Date): Buffer {
  const text = date.toISOString().replace(/[-:T]|\.\d+/g, '');
  return date.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(text.slice(2))) : der(0x18, Buffer.from(text));
}
