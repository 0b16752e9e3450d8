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
  ['{"a": [{}, {"b": [1]}, []], "c": x}', 1, 34],
  ['{"a": 1, b}', 1, 10],
  ['{"a": {"b": 2]}', 1, 14],
  ['[1, 2}', 1, 6],
  ['[,]', 1, 2],
  ['[1,]', 1, 4],
  ['{"a" 1}', 1, 6],
  [']', 1, 1],
  ['{"a": "\\u12"}', 1, 7],
  ['{"a": "\\u00zz"}', 1, 7],
  ['{"a": "\\x"}', 1, 7],
  ['{"a": "\u0001"}', 1, 7],
  ['[-]', 1, 2],
  ['[1.]', 1, 3],
  ['[1e]', 1, 3],
])('%j stops being JSON at line %i, column %i', (text, line, column) => {
  expect(jsonFlaw(text)).toEqual({ line, column });
});

test('nesting may be deep', () => {
  expect(jsonFlaw('['.repeat(100_000))).toEqual({ line: 1, column: 100_001 });
});

test.each([
  '"\\u00e9\\"\\\\\\n"',
  '"\u007f"',
  '-12.345e+10',
  '1E-20',
  '1.25e12',
  '0',
  'true',
  '[{}, [], {"a": {}, "b": [[]]}]',
  '{"a": [true, false, null]}',
])('what follows %s is the flaw, not what is in it', (text) => {
  expect(jsonFlaw(text)).toBeNull();
  expect(jsonFlaw(`${text} !`)).toEqual({ line: 1, column: text.length + 2 });
  expect(jsonFlaw(`[${text}, !`)).toEqual({ line: 1, column: text.length + 4 });
});

test('what follows JSON is the flaw, whatever the JSON', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      expect(jsonFlaw(`${text}\n!`)).toEqual({ line: 2, column: 1 });
    }),
  );
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
