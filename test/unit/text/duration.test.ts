import { expect, test } from 'vitest';
import { formatDuration, formatTime } from '../../../src/text/duration.ts';

test.each([
  [-1, '0.0 s'],
  [0, '0.0 s'],
  [1, '1 ms'],
  [94, '94 ms'],
  [95, '0.1 s'],
  [9_949, '9.9 s'],
  [9_950, '10 s'],
  [59_499, '59 s'],
  [59_500, '1 min'],
  [192_000, '3 min 12 s'],
  [3_599_000, '59 min 59 s'],
  [3_600_000, '1 h'],
  [18_120_000, '5 h 2 min'],
  [86_400_000, '1 d'],
  [1_047_600_000, '12 d 3 h'],
])('%i ms are shown as %s', (ms, shown) => {
  expect(formatDuration(ms)).toBe(shown);
});

test('a time is shown in UTC, to the second', () => {
  expect(formatTime('2026-11-24T01:12:03.999+00:00')).toBe('2026-11-24 01:12:03 UTC');
});
