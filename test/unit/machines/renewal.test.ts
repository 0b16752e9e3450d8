import { expect, test } from 'vitest';
import { lookIntervalMs, renewAt } from '../../../src/machines/renewal.ts';

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
  expect(lookIntervalMs(renewAt, requestWaitMs, now)).toBe(expected);
});

test('renewal lies at the fraction of the life that was rolled', () => {
  const life = { notBefore: new Date(0), notAfter: new Date(1000) };
  expect(renewAt(life, 0.5, 0.9, 0).getTime()).toBe(500);
  expect(renewAt(life, [0.7, 0.9], 0.5, 0).getTime()).toBe(800);
});

test('a certificate that was dated back is renewed at the fraction of what is left', () => {
  const life = { notBefore: new Date(0), notAfter: new Date(1000) };
  expect(renewAt(life, 0.5, 0, 800).getTime()).toBe(900);
});
