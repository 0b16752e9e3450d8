import { expect, test } from 'vitest';
import type { ErrorCode } from '../../../src/errors/catalogue.ts';
import { OnboardingError } from '../../../src/errors/onboardingError.ts';
import {
  afterFailedOpening,
  afterOpening,
  afterReplacement,
  afterResume,
  becomesUseless,
  isUseless,
  type Unopened,
  untried,
} from '../../../src/machines/unopened.ts';

const minute = 60_000;
const retry = { initialMs: 500, factor: 2, maxMs: 5 * minute, failedAfterMs: 15 * minute };
const policy = { retry, refusalsCount: true };
const failed = (code: ErrorCode) => new OnboardingError(code, 'no');
const refused = new OnboardingError('NATS_TLS', 'no', { reason: 'client-certificate-refused' });
const now = 1_000 * minute;
const failing = (failures: number, forMs: number, more: Partial<Unopened> = {}): Unopened => ({
  ...untried,
  failures,
  since: now - forMs,
  ...more,
});

test.each<[string, Unopened, boolean]>([
  ['without a failure', untried, false],
  ['without a failure, however long ago', failing(0, 60 * minute), false],
  ['after nine failures in less than ten minutes', failing(9, 10 * minute - 1), false],
  ['after ten failures', failing(10, 0), true],
  ['after ten minutes and three failures', failing(3, 10 * minute), true],
  ['after ten minutes with two failures: a device may have slept', failing(2, 99 * minute), false],
  ['once it has opened NATS, whatever failed', failing(99, 99 * minute, { isUntried: false }), false],
  [
    'that opened NATS before, not by four refusals',
    failing(4, 9 * minute, { isUntried: false, refusals: { count: 4, since: now - 9 * minute } }),
    false,
  ],
  [
    'that opened NATS before, not by refusals of less than `retry.maxMs`',
    failing(9, minute, { isUntried: false, refusals: { count: 9, since: now - 5 * minute + 1 } }),
    false,
  ],
  [
    'that opened NATS before, once NATS refuses it for good',
    failing(5, 5 * minute, { isUntried: false, refusals: { count: 5, since: now - 5 * minute } }),
    true,
  ],
  [
    'that never opened NATS, not sooner for being refused',
    failing(5, 9 * minute, { rounds: 1, refusals: { count: 5, since: now - 9 * minute } }),
    false,
  ],
  ['after one replacement: not with ten failures', failing(19, 0, { rounds: 1 }), false],
  ['after one replacement: not after ten minutes', failing(3, 20 * minute - 1, { rounds: 1 }), false],
  ['after one replacement: with twenty failures', failing(20, 0, { rounds: 1 }), true],
  ['after one replacement: after twenty minutes', failing(3, 20 * minute, { rounds: 1 }), true],
  ['after many replacements: not with 639 failures', failing(639, 0, { rounds: 50 }), false],
  ['after many replacements: with 640 failures', failing(640, 0, { rounds: 50 }), true],
])('a certificate is useless %s: %#', (_, unopened, expected) => {
  expect(isUseless(unopened, now, retry)).toBe(expected);
});

test.each<[ErrorCode, number, boolean]>([
  ['NATS_TLS', 9, true],
  ['NATS_UNREACHABLE', 9, true],
  ['NATS_UNREACHABLE', 8, false],
  ['NATS_DENIED', 9, true],
  ['NATS_NOT_SECURE', 9, true],
  ['REGISTRATION_ANSWER_INVALID', 9, true],
  ['REGISTRATION_REJECTED', 9, false],
  ['REGISTRATION_TIMEOUT', 9, false],
])('%s after %i failures settles it: %s', (code, failures, expected) => {
  expect(becomesUseless(failing(failures, 0), failed(code), now, policy)).toBe(expected);
});

test('a failure that is the first counts from now', () => {
  expect(becomesUseless(untried, failed('NATS_TLS'), now, policy)).toBe(false);
  const after = afterFailedOpening(untried, failed('NATS_TLS'), now, true);
  expect(after).toEqual({ ...untried, failures: 1, since: now });
});

test('a further failure keeps the time of the first', () => {
  expect(afterFailedOpening(failing(1, minute), failed('NATS_DENIED'), now, true)).toEqual(
    failing(2, minute),
  );
});

test.each([
  [true, true, false],
  [true, false, true],
  [false, false, false],
  [false, true, false],
])('untried %s, and the disk says opened %s: untried %s', (isUntried, opened, expected) => {
  const before = failing(3, minute, { isUntried, rounds: 2 });
  expect(afterResume(before, opened)).toEqual({ ...before, isUntried: expected });
});

test('a certificate that opened NATS has a clean record', () => {
  const refusals = { count: 3, since: now - minute };
  const before = failing(3, minute, { refusals, rounds: 2, isReplaced: true });
  expect(afterOpening(before)).toEqual({ ...untried, isUntried: false, isReplaced: true });
});

test('a failure that says nothing of the certificate does not count', () => {
  const after = afterFailedOpening(failing(1, minute), failed('REGISTRATION_TIMEOUT'), now, true);
  expect(after).toEqual(failing(1, minute));
});

test.each([
  ['a refusal of NATS is counted with its time', refused, true, { count: 2, since: now - minute }],
  ['without TLS anybody may refuse: it does not count', refused, false, { count: 1, since: now - minute }],
  ['a cut connection is no refusal', failed('NATS_TLS'), true, { count: 1, since: now - minute }],
])('%s', (_, error, refusalsCount, expected) => {
  const before = failing(1, minute, { refusals: { count: 1, since: now - minute } });
  expect(afterFailedOpening(before, error, now, refusalsCount)).toEqual(
    failing(2, minute, { refusals: expected }),
  );
});

test('a device that registers with a certificate that was taken back asks for another at the fifth refusal in five minutes', () => {
  const before = failing(4, 5 * minute, {
    isUntried: false,
    refusals: { count: 4, since: now - 5 * minute },
  });
  expect(becomesUseless(before, refused, now, policy)).toBe(true);
  expect(becomesUseless(before, failed('NATS_TLS'), now, policy)).toBe(false);
  expect(becomesUseless(before, refused, now, { ...policy, refusalsCount: false })).toBe(false);
});

test.each([
  ['another certificate in its place counts as a round', true, false, 3],
  ['a certificate that takes no other one’s place does not', false, false, 2],
  ['one that opened NATS in its trial is tried', true, true, 3],
])('%s', (_, isReplaced, opened, rounds) => {
  const before = failing(3, minute, { isUntried: false, rounds: 2, isReplaced });
  expect(afterReplacement(before, opened)).toEqual({ ...untried, isUntried: !opened, rounds });
});
