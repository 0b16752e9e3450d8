import fc from 'fast-check';
import { expect, test } from 'vitest';
import { jsonFlaw } from '../../../src/text/jsonFlaw.ts';

test.each([
  ['', 1, 1],
  ['{', 1, 2],
  ['{"a": tru}', 1, 7],
  ['{"a": 1,}', 1, 9],
  ['{"a": 1 "b": 2}', 1, 9],
  ['{\n  "url": "https://user:secret@host"\n  "b": 2\n}', 3, 3],
  ['{"a": "not closed}', 1, 7],
  ['[1, [2, [3]}', 1, 12],
  ['{} {}', 1, 4],
  ['{"a": 01}', 1, 8],
  ["{'a': 1}", 1, 2],
])('%j stops being JSON at line %i, column %i', (text, line, column) => {
  expect(jsonFlaw(text)).toEqual({ line, column });
});

test('nesting may be deep', () => {
  expect(jsonFlaw('['.repeat(100_000))).toEqual({ line: 1, column: 100_001 });
});

test('what is JSON has no flaw, and what was cut off has it at its end or in its last token', () => {
  fc.assert(
    fc.property(fc.json(), fc.nat(), (text, cut) => {
      expect(jsonFlaw(text)).toBeNull();
      const part = text.slice(0, cut % text.length);
      const flaw = jsonFlaw(part);
      if (flaw !== null) expect(flaw.column).toBeLessThanOrEqual(part.length + 1);
    }),
  );
});
