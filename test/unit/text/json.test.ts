import { expect, test } from 'vitest';
import { parseJson } from '../../../src/text/json.ts';

const nested = (levels: number, core = '1') =>
  `${'[{"a":'.repeat(levels / 2)}${core}${'}]'.repeat(levels / 2)}`;

test('JSON of 64 levels is read, of one more refused', () => {
  expect(parseJson(nested(64))).toEqual(JSON.parse(nested(64)));
  expect(() => parseJson(nested(64, '[]'))).toThrow(/64 levels/);
  expect(() => parseJson(nested(200_000))).toThrow(/64 levels/);
  expect(parseJson('[[[]],[[]]]', { maxDepth: 3 })).toEqual([[[]], [[]]]);
});

test('brackets in strings, escaped quotes and backslashes do not count as levels', () => {
  const value = { [`${'{['.repeat(500)}"\\`]: `\\"${'['.repeat(500)}\\\\` };
  expect(parseJson(JSON.stringify([value, value]))).toEqual([value, value]);
  expect(() => parseJson(`["\\\\",${'['.repeat(64)}`)).toThrow(/64 levels/);
});

test('an escaped quote does not end a string', () => {
  const value = [`"${'['.repeat(500)}`];
  expect(parseJson(JSON.stringify(value))).toEqual(value);
});

test('JSON that is too long is refused before it is read', () => {
  expect(() => parseJson('[1]', { maxLength: 2 })).toThrow(/longer than 2 characters/);
  expect(parseJson('[1]', { maxLength: 3 })).toEqual([1]);
});

test('what is no JSON is a syntax error, as ever', () => {
  for (const text of ['', ']]]', '{', '"', '"\\', 'undefined'])
    expect(() => parseJson(text), text).toThrow(SyntaxError);
});
