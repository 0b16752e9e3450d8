import { expect, test } from 'vitest';
import { afterRequest, type RequestPace, requestWaitMs, unpaced } from '../../../src/machines/requestPace.ts';

const retry = { initialMs: 1000, maxMs: 300_000, factor: 2 };
const hour = 3_600_000;
const clock = (now: number, random = 0.5) => ({ now: () => now, random: () => random });

test.each<[string, number | null, number]>([
  ['nothing was requested: no wait', null, 0],
  ['the moment lies in the past: no wait', 999, 0],
  ['the moment is now: no wait', 1000, 0],
  ['the moment is to come: the rest of the wait', 1250, 250],
  ['the clock was set back by a year: the longest Retry-After and the highest ceiling', 1e12, hour + 300_000],
])('%s', (_, nextRequestAt, expected) => {
  expect(requestWaitMs({ ...unpaced, nextRequestAt }, 1000, retry)).toBe(expected);
});

test.each<[string, RequestPace, RequestPace]>([
  [
    'the first request: the first ceiling',
    unpaced,
    { requests: 1, lastRequestAt: 400_000, nextRequestAt: 400_500 },
  ],
  [
    'one soon after another: the ceiling grows',
    { requests: 3, lastRequestAt: 100_001, nextRequestAt: 0 },
    { requests: 4, lastRequestAt: 400_000, nextRequestAt: 404_000 },
  ],
  [
    'one that is retry.maxMs after another: a new row',
    { requests: 3, lastRequestAt: 100_000, nextRequestAt: 0 },
    { requests: 1, lastRequestAt: 400_000, nextRequestAt: 400_500 },
  ],
])('%s', (_, pace, expected) => {
  expect(afterRequest(pace, clock(400_000), retry)).toEqual(expected);
});

test('the first request is none in a row, also on a clock that says 1970', () => {
  expect(afterRequest({ ...unpaced, requests: 3 }, clock(1000), retry).requests).toBe(1);
});
