import { catalogue, type ErrorCode } from '../errors/catalogue.ts';
import { isRefusal } from '../errors/networkProblem.ts';
import { describe, OnboardingError } from '../errors/onboardingError.ts';
import type { Reason } from '../errors/reasons.ts';
import { backoffMs } from './backoff.ts';
import type { Clock } from './clock.ts';
import type { Context, Failure, Policy, Step } from './contracts.ts';
import { untilExpiryMs } from './renewal.ts';
import { afterFailedOpening } from './unopened.ts';
import { afterRefusal } from './verification.ts';

/** A limit of one attempt, and what it means when it has passed. */
interface Timeout {
  readonly ms: number;
  readonly code: ErrorCode;
  readonly reason: Reason | null;
  readonly message: string;
}

/** The stream's look-ups before a request is repeated; each is bounded by the adapter, this is the backstop. */
const lookUpTimeoutMs = 20_000;

/** The time limits of the chart, by the names of its delays. None of them is a permanent failure. */
export function timeoutsOf(policy: Policy) {
  const { provisioningTimeoutMs, connectTimeoutMs, registrationTimeoutMs } = policy;
  return {
    provisioningTimeout: {
      ms: provisioningTimeoutMs,
      code: 'PROVISIONING_TIMEOUT',
      reason: 'timeout',
      message: `no answer from the provisioning server within ${seconds(provisioningTimeoutMs)}`,
    },
    connectTimeout: {
      ms: connectTimeoutMs,
      code: 'NATS_UNREACHABLE',
      reason: 'timeout',
      message: `no connection to the NATS server within ${seconds(connectTimeoutMs)}`,
    },
    lookUpTimeout: {
      ms: lookUpTimeoutMs,
      code: 'REGISTRATION_TIMEOUT',
      reason: null,
      message: `the stream of the results did not answer within ${seconds(lookUpTimeoutMs)}`,
    },
    resultTimeout: {
      ms: registrationTimeoutMs,
      code: 'REGISTRATION_TIMEOUT',
      reason: null,
      message: `no result from the fleet manager within ${seconds(registrationTimeoutMs)}`,
    },
  } as const satisfies Readonly<Record<string, Timeout>>;
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}

/**
 * What went wrong, from the event that says so: an actor's error event, `FAILED`, or the event of a timeout
 * (`xstate.after.<delay>.<state>`). Anything but an OnboardingError is a bug: INTERNAL.
 */
export function errorOf(
  event: { readonly type: string; readonly error?: unknown },
  timeouts: Readonly<Record<string, Timeout>>,
): OnboardingError {
  const [, delay = ''] = /^xstate\.after\.(\w+)\./.exec(event.type) ?? [];
  const timeout = Object.hasOwn(timeouts, delay) ? timeouts[delay] : undefined;
  if (timeout !== undefined)
    return new OnboardingError(timeout.code, timeout.message, { reason: timeout.reason });
  if (event.error instanceof OnboardingError) return event.error;
  return new OnboardingError('INTERNAL', describe(event.error), { cause: event.error });
}

interface FailedStep {
  readonly step: Step;
  readonly error: OnboardingError;
}

/** How long a step waits after a failure, in milliseconds; 0 after a permanent one: for ever. */
function waitMs(
  { step, error: { class: errorClass, retryAfterMs } }: FailedStep,
  attempt: number,
  { retry }: Policy,
  clock: Clock,
): number {
  if (errorClass === 'transient') return backoffMs(retry, attempt, clock.random(), retryAfterMs);
  // A renewal is never given up: the certificate that it replaces would run out.
  return retry.failedAfterMs || (step === 'renewing' || step === 'verifying' ? retry.maxMs : 0);
}

/**
 * What a failure changes: it is recorded, the next try is set, and requests and certificates are judged by it. Whatever a
 * renewal has to wait for, it ends when the certificate expires: then the device asks again, once.
 */
export function afterFailure(
  { deviceId, attempt, notAfter, pace, unopened }: Context,
  failed: FailedStep,
  policy: Policy,
  clock: Clock,
): Pick<Context, 'deviceId' | 'failure' | 'delayMs' | 'nextRetryAt' | 'pace' | 'unopened'> {
  const { step, error } = failed;
  const { code, reason, class: errorClass, message } = error;
  const now = clock.now();
  const isOfRequest = step === 'csr' || step === 'renewing';
  // Requests in a row count through every state, attempts in this one only.
  const exponent = isOfRequest ? Math.max(attempt, pace.requests) : attempt;
  const wholeMs = waitMs(failed, exponent, policy, clock);
  const delayMs = step === 'renewing' ? Math.min(wholeMs, untilExpiryMs(notAfter, now)) : wholeMs;
  // A trial that fails follows a request that did not: those in a row keep their distance.
  const requestDelayMs = code.startsWith('NATS_') ? wholeMs : delayMs;
  return {
    // A device that cannot resume has an id all the same, if one could be read.
    deviceId: deviceId ?? error.deviceId,
    failure: { step, code, reason, class: errorClass, message, at: now },
    delayMs,
    nextRetryAt: errorClass === 'permanent' && delayMs === 0 ? null : now + delayMs,
    pace: isOfRequest ? { ...pace, nextRequestAt: now + requestDelayMs } : pace,
    unopened:
      step === 'registering' ? afterFailedOpening(unopened, error, now, policy.refusalsCount) : unopened,
  };
}

/** What a failed look at NATS changes: it is recorded, and the next one is set; the renewal goes on meanwhile. */
export function afterFailedVerification(
  { verification: { failures, refusals } }: Context,
  error: OnboardingError,
  policy: Policy,
  clock: Clock,
): Pick<Context, 'failure' | 'verification'> {
  const { code, reason, class: errorClass, message } = error;
  const now = clock.now();
  const delayMs = waitMs({ step: 'verifying', error }, failures + 1, policy, clock);
  return {
    failure: { step: 'verifying', code, reason, class: errorClass, message, at: now },
    verification: {
      at: now + delayMs,
      failures: failures + 1,
      refusals: isRefusal(error) ? afterRefusal(refusals, now) : refusals,
    },
  };
}

/** Setting the clock may cure it: the wait ends with the next clock step. */
export function isClockSensitive(failure: Failure | null): boolean {
  return failure !== null && catalogue[failure.code].clockSensitive === true;
}
