import { gzipSync } from 'node:zlib';

export interface ArchivedFile {
  /** At most 100 bytes */
  readonly name: string;
  readonly text: string;
}

const blockBytes = 512;

/** A `.tar.gz` of texts (POSIX ustar). @param at time of the files, milliseconds since 1970 */
export function tarArchive(files: readonly ArchivedFile[], at: number): Buffer {
  const blocks = files.flatMap(({ name, text }) => {
    const bytes = Buffer.from(text);
    const padding = (blockBytes - (bytes.length % blockBytes)) % blockBytes;
    return [headerOf(name, bytes.length, at), bytes, Buffer.alloc(padding)];
  });
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(2 * blockBytes)]));
}

function headerOf(name: string, size: number, at: number): Buffer {
  const header = Buffer.alloc(blockBytes);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`;
  const fields: readonly (readonly [number, string])[] = [
    [0, name],
    [100, octal(0o600, 7)],
    [108, octal(0, 7)],
    [116, octal(0, 7)],
    [124, octal(size, 11)],
    [136, octal(Math.max(0, Math.floor(at / 1000)), 11)],
    // The sum is made with spaces in its own place.
    [148, ' '.repeat(8)],
    [156, '0'],
    [257, 'ustar\x0000'],
  ];
  for (const [offset, text] of fields) header.write(text, offset);
  const sum = header.reduce((all, byte) => all + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}
