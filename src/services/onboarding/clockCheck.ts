import { OnboardingError } from '../../errors/onboardingError.ts';
import { isoTime } from '../state/deviceState.ts';
import { clockSkewMs } from './acceptCertificate.ts';

/**
 * A right clock is neither before the build nor before the start of a certificate that was valid when it was accepted.
 *
 * @throws {OnboardingError} CLOCK_WRONG
 */
export function checkClock(now: number, builtAt: number, accepted?: { notBefore: Date }): void {
  const refuse = (what: string, then: number) => {
    const dates = `${isoTime(now)}, before ${what}, ${isoTime(then)}`;
    throw new OnboardingError('CLOCK_WRONG', `the clock says ${dates}`);
  };
  if (now < builtAt) refuse('this program was built', builtAt);
  const start = accepted?.notBefore.getTime();
  if (start !== undefined && now < start - clockSkewMs) refuse("the certificate's start", start);
}
