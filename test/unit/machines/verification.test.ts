import { expect, test } from 'vitest';
import {
  afterRefusal,
  isForGood,
  noRefusals,
  type Refusals,
  verificationAt,
  withinReach,
} from '../../../src/machines/verification.ts';

const retry = { initialMs: 1000, maxMs: 300_000, factor: 2 };
const now = Date.UTC(2026, 10, 24);
const hour = 3_600_000;
const refusedAt = (...times: number[]) =>
  times.reduce<Refusals>((refusals, time) => afterRefusal(refusals, time), noRefusals);

test.each<[string, Refusals, boolean]>([
  ['never', noRefusals, false],
  ['five times within a second', refusedAt(now - 4, now - 3, now - 2, now - 1, now), false],
  ['four times in an hour', refusedAt(now - hour, now - 3, now - 2, now), false],
  ['five times in five minutes', refusedAt(now - 300_000, now - 3, now - 2, now - 1, now), true],
])('refused %s: for good?', (_, refusals, expected) => {
  expect(isForGood(refusals, now, retry)).toBe(expected);
});

test.each<[string, number | null, number, number]>([
  ['just now: 18 to 24 hours later', now, 0, now + 18 * hour],
  ['just now: 18 to 24 hours later', now, 1, now + 24 * hour],
  ['twenty hours ago: within the day', now - 20 * hour, 0.5, now + hour],
  ['a week ago: within a quarter of an hour', now - 168 * hour, 1, now + 900_000],
  ['at a time that is not recorded: within a quarter of an hour', null, 0.5, now + 450_000],
  ['in the future, by a clock that was wrong: within a day', now + 9_000 * hour, 0, now + 24 * hour],
])('a device that was verified %s', (_, verifiedAt, random, expected) => {
  expect(verificationAt(verifiedAt, random, now, retry)).toBe(expected);
});

test.each<[string, number | null, number, number | null]>([
  ['is not set', null, 0, null],
  ['has passed', now - hour, 0, now - hour],
  ['is a day away', now + 24 * hour, 0, now + 24 * hour],
  ['is as far away as a failed try may wait', now + 100 * hour, 100 * hour, now + 100 * hour],
  ['is further away, as the clock was set back, and is set again', now + 24 * hour + 1, 0, null],
])('the next look at NATS %s', (_, at, longestMs, expected) => {
  expect(withinReach(at, now, longestMs)).toBe(expected);
});
