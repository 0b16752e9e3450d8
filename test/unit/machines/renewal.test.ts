import { expect, test } from 'vitest';
import { isUrgent, lookIntervalMs, renewAt, untilExpiryMs } from '../../../src/machines/renewal.ts';

const now = 1_000_000;

test.each<[string, number | null, number, number]>([
  ['without a date: every minute', null, 0, 60_000],
  ['due in a year: every minute', now + 365 * 86_400_000, 0, 60_000],
  ['due in half a minute: then', now + 30_000, 0, 30_000],
  ['due: a second later', now, 0, 1_000],
  ['long overdue: a second later', 0, 0, 1_000],
  ['due, and a request is allowed in five seconds: then', now, 5_000, 5_000],
  ['due, and a request is allowed in an hour: in a minute', now, 3_600_000, 60_000],
])('%s', (_, renewAt, requestWaitMs, expected) => {
  expect(lookIntervalMs({ renewAt, notAfter: null, verifyAt: null }, requestWaitMs, now)).toBe(expected);
});

test('renewal lies at the fraction of the life that was rolled', () => {
  const life = { notBefore: new Date(0), notAfter: new Date(1000) };
  expect(renewAt(life, [0.7, 0.9], 0.5, 0).getTime()).toBe(800);
});

const year = 365 * 24 * 3_600_000;

test.each<[string, number, number, number]>([
  ['on the way: at the fraction of its life', 0, 100, 500],
  ['the moment before: at the fraction of its life', 0, 499, 500],
  ['at that very moment: at the fraction of what is left', 0, 500, 750],
  ['dated back: at the fraction of what is left', 0, 600, 800],
  ['not valid yet: at the fraction of its life', 500, 100, 750],
  ['seen by a clock at its end: at the fraction of its life', 0, 1000, 500],
  ['seen by a clock far ahead: at the fraction of its life, never after its end', 0, 99_000, 500],
])('a certificate, %s', (_, notBefore, at, expected) => {
  const life = { notBefore: new Date(notBefore), notAfter: new Date(1000) };
  expect(renewAt(life, 0.5, 0, at).getTime()).toBe(expected);
});

test.each([
  ['half a year', year, year / 2],
  ['a century', 100 * year, year],
])('a certificate that would be due in %s is due in a year at the latest', (_, lifeMs, expected) => {
  const life = { notBefore: new Date(now), notAfter: new Date(now + lifeMs) };
  expect(renewAt(life, 0.5, 0, now).getTime()).toBe(now + expected);
});

test.each<[string, number, number, number]>([
  ['expires in half a minute: a moment later', now + 30_000, now + 365 * 86_400_000, 30_001],
  ['expires at once: a moment later', now, now, 1],
  ['expired long ago, and that was read: no closer looks', 0, now + 5_000, 5_000],
  ['is verified in ten seconds: then', now + 60_000, now + 10_000, 10_000],
  ['is late to be verified: a second later', now + 60_000, now - 10_000, 1_000],
])('a device whose certificate %s', (_, notAfter, verifyAt, expected) => {
  expect(lookIntervalMs({ renewAt: null, notAfter, verifyAt }, 0, now)).toBe(expected);
});

test('a wait for the expiry fits a timer, and begins only before it', () => {
  expect(untilExpiryMs(now + 5, now)).toBe(6);
  for (const notAfter of [null, now - 1, now + 365 * 86_400_000])
    expect(untilExpiryMs(notAfter, now)).toBe(2 ** 31 - 1);
});

test.each<[string, number | null, number | null, boolean]>([
  ['just due', now, now + 3_000, false],
  ['at two thirds of its time', now - 2_000, now + 1_000, true],
  ['just before that', now - 1_999, now + 1_001, false],
  ['expired', now - 3_000, now - 1, true],
  ['without dates', null, null, false],
  ['without a date of renewal', null, now, false],
])('urgency of a renewal: %s', (_, renewAt, notAfter, expected) => {
  expect(isUrgent({ renewAt, notAfter }, now, 0)).toBe(expected);
});

test('a renewal is urgent, too, if no other try comes before the expiry', () => {
  const dates = { renewAt: now, notAfter: now + 3_000 };
  expect(isUrgent(dates, now, 3_000)).toBe(false);
  expect(isUrgent(dates, now, 3_001)).toBe(true);
});
