import { expect, test } from 'vitest';
import { plainJson, plainText } from '../../../src/text/plainText.ts';
import { processorMs } from '../../support/processorTime.ts';

const code = (value: number) => `U+${value.toString(16).toUpperCase().padStart(4, '0')}`;
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
const unseen = [
  ...range(0x0000, 0x001f),
  ...range(0x007f, 0x009f),
  ...[0x061c, 0x200e, 0x200f, 0x2028, 0x2029],
  ...range(0x202a, 0x202e),
  ...range(0x2066, 0x2069),
  0xfeff,
];

test.each(
  unseen.map((value) => [code(value), String.fromCharCode(value)]),
)('%s becomes a space, and an escape in JSON', (_, character) => {
  expect(plainText(`a${character}b`)).toBe('a b');
  const json = plainJson({ key: `a${character}b` });
  expect(json).toMatch(/^\{"key":"a\\[ -~]+b"\}$/);
  expect(JSON.parse(json)).toEqual({ key: `a${character}b` });
});

test('every other character stays', () => {
  const isUnseen = new Set(unseen);
  const seen = range(0x20, 0xffff).filter(
    (value) => !isUnseen.has(value) && (value < 0xd800 || value > 0xdfff),
  );
  const text = `${seen.map((value) => String.fromCharCode(value)).join('')}\u{1f468}\u200d\u{1f527}`;
  expect(plainText(text)).toBe(text);
});

test('a megabyte of them takes no longer than a megabyte', () => {
  const text = '\u202e\u009b'.repeat(500_000);
  expect(plainText(text)).toBe(' '.repeat(1_000_000));
  expect(processorMs(() => plainText(text))).toBeLessThan(2000);
});
