import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { tarArchive } from '../../../src/adapters/tarArchive.ts';

test('an archive is whole blocks, each file behind a header with a valid sum', () => {
  const texts = ['', 'ü'.repeat(300), 'x'.repeat(512)];
  const files = texts.map((text, index) => ({ name: `a/${index}.txt`, text }));
  const bytes = gunzipSync(tarArchive(files, 1_000_000));
  let at = 0;
  for (const { name, text } of files) {
    const header = bytes.subarray(at, at + 512);
    const field = (from: number, length: number) =>
      header
        .subarray(from, from + length)
        .toString()
        .replace(/[\0 ]+$/, '');
    const size = Number.parseInt(field(124, 12), 8);
    expect([field(0, 100), field(257, 5), size]).toEqual([name, 'ustar', Buffer.byteLength(text)]);
    expect(Number.parseInt(field(136, 12), 8)).toBe(1000);
    const blank = Buffer.from(header).fill(0x20, 148, 156);
    expect(Number.parseInt(field(148, 8), 8)).toBe(blank.reduce((sum, byte) => sum + byte, 0));
    expect(bytes.subarray(at + 512, at + 512 + size).toString()).toBe(text);
    at += 512 + Math.ceil(size / 512) * 512;
  }
  expect(bytes.subarray(at)).toEqual(Buffer.alloc(1024));
});
