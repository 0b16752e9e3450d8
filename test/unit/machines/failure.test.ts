import { expect, test } from 'vitest';
import type { ErrorClass, ErrorCode } from '../../../src/errors/catalogue.ts';
import { OnboardingError } from '../../../src/errors/onboardingError.ts';
import type { Context, Policy, Step } from '../../../src/machines/contracts.ts';
import { afterFailure, errorOf, isClockSensitive, timeoutsOf } from '../../../src/machines/failure.ts';
import { initialContext } from '../../../src/machines/onboardingSetup.ts';
import { unpaced } from '../../../src/machines/requestPace.ts';

const now = 5_000_000;
const policy: Policy = {
  retry: { initialMs: 1000, maxMs: 300_000, factor: 2, failedAfterMs: 900_000 },
  provisioningTimeoutMs: 15_000,
  registrationTimeoutMs: 30_000,
  connectTimeoutMs: 35_000,
  refusalsCount: true,
};
const context: Context = { ...initialContext, deviceId: 'a', attempt: 3 };
const never: Policy = { ...policy, retry: { ...policy.retry, failedAfterMs: 0 } };

function fail(step: Step, error: OnboardingError, chosen: Policy = policy, before: Partial<Context> = {}) {
  let draws = 0;
  const random = () => {
    draws++;
    return 0.5;
  };
  return {
    ...afterFailure({ ...context, ...before }, { step, error }, chosen, { now: () => now, random }),
    draws,
  };
}
const errorOfClass = (
  errorClass: ErrorClass,
  code: ErrorCode = 'INTERNAL',
  retryAfterMs: number | null = null,
) => new OnboardingError(code, 'broken', { class: errorClass, retryAfterMs });

test.each([
  [
    'provisioningTimeout',
    'PROVISIONING_TIMEOUT',
    'timeout',
    'no answer from the provisioning server within 15 s',
    15_000,
  ],
  ['connectTimeout', 'NATS_UNREACHABLE', 'timeout', 'no connection to the NATS server within 35 s', 35_000],
  [
    'lookUpTimeout',
    'REGISTRATION_TIMEOUT',
    null,
    'the stream of the results did not answer within 20 s',
    20_000,
  ],
  ['resultTimeout', 'REGISTRATION_TIMEOUT', null, 'no result from the fleet manager within 30 s', 30_000],
] as const)('%s means %s for the reason %s', (delay, code, reason, message, ms) => {
  const timeouts = timeoutsOf(policy);
  const error = errorOf({ type: `xstate.after.${delay}.onboarding.csr.requesting` }, timeouts);
  expect(error).toMatchObject({ code, reason, message, class: 'transient' });
  expect(timeouts[delay].ms).toBe(ms);
});

test('an error that an actor throws is the failure itself', () => {
  const error = new OnboardingError('NATS_TLS', 'not trusted');
  const type = 'xstate.error.actor.0.onboarding.csr.trying';
  expect(errorOf({ type, error }, timeoutsOf(policy))).toBe(error);
  expect(errorOf({ type: 'FAILED', error }, timeoutsOf(policy))).toBe(error);
});

test.each<[string, { type: string; error?: unknown }, string]>([
  ['a foreign error', { type: 'FAILED', error: new TypeError('x is undefined') }, 'x is undefined'],
  ['a text', { type: 'FAILED', error: 'out of luck' }, 'out of luck'],
  ['a delay that is no time limit', { type: 'xstate.after.toString.onboarding.failed' }, 'undefined'],
])('%s is a bug', (_, event, message) => {
  expect(errorOf(event, timeoutsOf(policy))).toMatchObject({ code: 'INTERNAL', message, cause: event.error });
});

test('a failure is recorded with its step, code, class and time', () => {
  const error = new OnboardingError('STATE_CORRUPT', 'state.json is damaged');
  expect(fail('idle', error).failure).toEqual({
    step: 'idle',
    code: 'STATE_CORRUPT',
    reason: null,
    class: 'permanent',
    message: 'state.json is damaged',
    at: now,
  });
});

test.each<[string, Step, OnboardingError, Policy, number, number | null]>([
  [
    'transient: jitter below the ceiling of the attempt',
    'csr',
    errorOfClass('transient'),
    policy,
    2000,
    now + 2000,
  ],
  [
    'transient, with Retry-After: jitter on top of it',
    'csr',
    errorOfClass('transient', 'INTERNAL', 7000),
    policy,
    9000,
    now + 9000,
  ],
  ['permanent: retry.failedAfterMs', 'csr', errorOfClass('permanent'), policy, 900_000, now + 900_000],
  ['permanent, without retry.failedAfterMs: never', 'csr', errorOfClass('permanent'), never, 0, null],
  [
    'a renewal, permanent: retry.failedAfterMs',
    'renewing',
    errorOfClass('permanent'),
    policy,
    900_000,
    now + 900_000,
  ],
  [
    'a renewal is never given up: retry.maxMs',
    'renewing',
    errorOfClass('permanent'),
    never,
    300_000,
    now + 300_000,
  ],
])('the wait, %s', (_, step, error, chosen, delayMs, nextRetryAt) => {
  expect(fail(step, error, chosen)).toMatchObject({ delayMs, nextRetryAt });
});

test('a wait that chance makes nothing of is over at once, and not for ever', () => {
  const error = errorOfClass('transient');
  const after = afterFailure(context, { step: 'csr', error }, policy, { now: () => now, random: () => 0 });
  expect(after).toMatchObject({ delayMs: 0, nextRetryAt: now });
});

test('chance is asked only when a wait is random', () => {
  expect(fail('csr', errorOfClass('permanent')).draws).toBe(0);
  expect(fail('csr', errorOfClass('transient')).draws).toBe(1);
});

test.each<[Step, number | null]>([
  ['csr', now + 2000],
  ['renewing', now + 2000],
  ['idle', null],
  ['keygen', null],
  ['provisioned', null],
  ['registering', null],
  ['registered', null],
])('a failure of %s holds requests for certificates back until %s', (step, nextRequestAt) => {
  expect(fail(step, errorOfClass('transient')).pace).toEqual({ ...unpaced, nextRequestAt });
});

test.each<[Step, number, number]>([
  ['csr', 5, 8000],
  ['renewing', 5, 8000],
  ['csr', 2, 2000],
  ['registered', 5, 2000],
])('in %s after %i requests in a row the wait is %i ms', (step, requests, delayMs) => {
  const pace = { requests, lastRequestAt: now, nextRequestAt: now + 1e9 };
  const after = fail(step, errorOfClass('transient'), policy, { pace });
  expect(after.delayMs).toBe(delayMs);
  expect(after.pace.nextRequestAt).toBe(step === 'registered' ? now + 1e9 : now + delayMs);
});

test.each<[string, Step, ErrorCode, ErrorClass, number, number]>([
  ['a permanent failure of the request', 'renewing', 'PROVISIONING_REJECTED', 'permanent', 4001, 4001],
  ['a Retry-After', 'renewing', 'PROVISIONING_REJECTED', 'transient', 4001, 4001],
  [
    'a failed trial, which no request is due after',
    'renewing',
    'NATS_UNREACHABLE',
    'transient',
    4001,
    122_000,
  ],
  ['a failure without a certificate to lose', 'csr', 'PROVISIONING_REJECTED', 'transient', 122_000, 122_000],
])('%s waits no longer than the certificate lives', (_, step, code, errorClass, delayMs, requestMs) => {
  const after = fail(step, errorOfClass(errorClass, code, 120_000), policy, { notAfter: now + 4000 });
  expect(after).toMatchObject({ delayMs, nextRetryAt: now + delayMs });
  expect(after.pace.nextRequestAt).toBe(now + requestMs);
});

test.each<[Step, ErrorCode, number]>([
  ['registering', 'NATS_TLS', 1],
  ['registering', 'NATS_UNREACHABLE', 1],
  ['registering', 'NATS_DENIED', 1],
  ['registering', 'REGISTRATION_TIMEOUT', 0],
  ['renewing', 'NATS_TLS', 0],
  ['csr', 'NATS_UNREACHABLE', 0],
])('%s fails with %s: %i more against the certificate', (step, code, failures) => {
  expect(fail(step, new OnboardingError(code, 'broken')).unopened.failures).toBe(failures);
});

test.each<[ErrorCode, boolean]>([
  ['CLOCK_WRONG', true],
  ['STATE_UNWRITABLE', false],
])('setting the clock may cure %s: %s', (code, expected) => {
  expect(isClockSensitive(fail('idle', new OnboardingError(code, 'broken')).failure)).toBe(expected);
});

test('where nothing failed there is nothing to cure', () => {
  expect(isClockSensitive(null)).toBe(false);
});
