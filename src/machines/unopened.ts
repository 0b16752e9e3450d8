import type { ErrorCode } from '../errors/catalogue.ts';
import { isRefusal } from '../errors/networkProblem.ts';
import type { OnboardingError } from '../errors/onboardingError.ts';
import type { RetryPolicy } from './backoff.ts';
import { afterRefusal, isForGood, noRefusals, type Refusals } from './verification.ts';

/** What is known of a certificate that may be of no use: from a wrong server, for a fleet that has moved, or taken back. */
export interface Unopened {
  /** The certificate has never opened a connection to NATS. */
  readonly isUntried: boolean;
  /** In a row, since the certificate was issued */
  readonly failures: number;
  /** The first of them, milliseconds since 1970 */
  readonly since: number | null;
  /** Those of them in which NATS itself refused the certificate */
  readonly refusals: Refusals;
  /** Another certificate is requested, and this one is kept until it is there. */
  readonly isReplaced: boolean;
  /** How often another one was requested. */
  readonly rounds: number;
}

export const untried: Unopened = {
  isUntried: true,
  failures: 0,
  since: null,
  refusals: noRefusals,
  isReplaced: false,
  rounds: 0,
};

/**
 * A certificate that has never opened NATS came from a wrong server, or the fleet has moved: after so many failures in
 * a row, or so long, another one is requested; twice as many, and twice as long, each time that did not help.
 */
export const uselessAfter = { failures: 10, ms: 10 * 60_000, fewest: 3, mostDoublings: 6 } as const;

/** Whatever can go wrong before a server is opened; what comes after counts no more, since then it was opened. */
const uselessCodes: readonly ErrorCode[] = [
  'NATS_TLS',
  'NATS_UNREACHABLE',
  'NATS_DENIED',
  'NATS_NOT_SECURE',
  'REGISTRATION_ANSWER_INVALID',
];

/**
 * Whether the failures so far say that the certificate is of no use. One that has opened NATS before is of use until NATS
 * itself refuses it for good, as it would a registered device: it was taken back while the device was registering.
 *
 * @param now milliseconds since 1970
 */
export function isUseless(
  { isUntried, failures, since, refusals, rounds }: Unopened,
  now: number,
  retry: RetryPolicy,
): boolean {
  if (!isUntried) return isForGood(refusals, now, retry);
  const doublings = 2 ** Math.min(rounds, uselessAfter.mostDoublings);
  return (
    // Elapsed time is not enough: the device may have been suspended, or its clock set.
    failures >= uselessAfter.fewest &&
    (failures >= uselessAfter.failures * doublings || now - (since ?? now) >= uselessAfter.ms * doublings)
  );
}

/** What a refusal of NATS means, and for how long it has to last. */
interface OpeningPolicy {
  readonly retry: RetryPolicy;
  /** A refusal is surely the fleet's */
  readonly refusalsCount: boolean;
}

/** Whether a failure that is not counted yet settles it. */
export function becomesUseless(
  unopened: Unopened,
  error: OnboardingError,
  now: number,
  { retry, refusalsCount }: OpeningPolicy,
): boolean {
  return (
    uselessCodes.includes(error.code) &&
    isUseless(afterFailedOpening(unopened, error, now, refusalsCount), now, retry)
  );
}

/**
 * A registration failed, perhaps before NATS was opened.
 *
 * @param now milliseconds since 1970
 * @param refusalsCount whether a refusal is surely the fleet's
 */
export function afterFailedOpening(
  unopened: Unopened,
  error: OnboardingError,
  now: number,
  refusalsCount: boolean,
): Unopened {
  if (!uselessCodes.includes(error.code)) return unopened;
  const { failures, since, refusals } = unopened;
  const isRefused = refusalsCount && isRefusal(error);
  return {
    ...unopened,
    failures: failures + 1,
    since: since ?? now,
    refusals: isRefused ? afterRefusal(refusals, now) : refusals,
  };
}

/** The facts on disk say whether the certificate has opened NATS before this start. */
export function afterResume(unopened: Unopened, opened: boolean): Unopened {
  return { ...unopened, isUntried: !opened && unopened.isUntried };
}

/** The certificate opened NATS. */
export function afterOpening(unopened: Unopened): Unopened {
  return { ...unopened, isUntried: false, failures: 0, since: null, refusals: noRefusals, rounds: 0 };
}

/** Another certificate was issued, or none could be: the count of tries starts over. */
export function afterReplacement({ isReplaced, rounds }: Unopened, opened: boolean): Unopened {
  return { ...untried, isUntried: !opened, rounds: rounds + (isReplaced ? 1 : 0) };
}
