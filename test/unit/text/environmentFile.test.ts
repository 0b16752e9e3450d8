import { expect, test } from 'vitest';
import { parseAgentEnvironment, parseServiceEnvironment } from '../../../src/text/environmentFile.ts';
import { growthFault } from '../../reliability/fuzz/growth.ts';

test.each([
  ['A=b', 'b'],
  ['  A = b c  ', 'b c'],
  ['A=b # c', 'b # c'],
  ['A=b#c', 'b#c'],
  ['A="b # c"', 'b # c'],
  ['A="b c" ', 'b c'],
  ["A='b\\c'", 'b\\c'],
  ['A="b\\"c\\$d\\n"', 'b"c$d\\n'],
  ['A=b\\ c', 'b c'],
  ['A=b\\\nc', 'bc'],
  ['A=b\\\r\nc', 'bc'],
  ['A="b\nc"', 'b\nc'],
  ["A=it's", "it's"],
  ['A="b"\'c\'', 'bc'],
  ['A=b\\ ', 'b '],
  ['A=', ''],
  ['A=1\nA=2', '2'],
  ['A=b\r\nB=c', 'b'],
  ['# A=c\n; A=d\nnothing\nA=b', 'b'],
])('the service manager reads %j as A=%j', (text, value) => {
  expect(parseServiceEnvironment(text).get('A')).toBe(value);
});

test.each([
  'export A=b',
  '#A=b',
  'A',
  '1A=b',
  'A.B=c',
])('the service manager reads no variable in %j', (text) => {
  expect([...parseServiceEnvironment(text)]).toEqual([]);
});

test.each([
  ['A=b # c', 'b'],
  ['A=b\t# c', 'b'],
  ['A=b#c', 'b#c'],
  ['A="b # c" # d', 'b # c'],
  ["A='b' # it's", 'b'],
  ['A=b\\\nc', 'bc'],
  ['A=b \\\r\n  c', 'b   c'],
  ['A=b\\\\\nB=c', 'b\\\\'],
  ['\uFEFFA=b', 'b'],
  ['export A=b', 'b'],
  ['A=b\\c', 'b\\c'],
  ['# comment \\\nA=b', 'b'],
  ['A=b\\', 'b'],
])('a file of the Go agent, %j, says A=%j', (text, value) => {
  expect(parseAgentEnvironment(text).get('A')).toBe(value);
});

test.each([
  'A=',
  'A="" # none',
  'A= # none',
  'A=#none',
])('a file of the Go agent, %j, says nothing of A', (text) => {
  expect(parseAgentEnvironment(text).has('A')).toBe(false);
});

test.each([
  ['quotes', '"'],
  ['spaces', ' '],
  ['backslashes', '\\'],
  ['continuation lines', '\\\n'],
  ['names', 'A'],
  ['lines', 'A=b\n'],
])('many %s are read in a time that grows with the text', (_, unit) => {
  const shape = { first: 'A=', repeated: unit, middle: '', closing: '', last: '' };
  expect(growthFault(parseAgentEnvironment, shape)).toBeNull();
  expect(growthFault(parseServiceEnvironment, shape)).toBeNull();
});
