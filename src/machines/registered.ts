import type { OnboardingSetup } from './onboardingSetup.ts';

type State = ReturnType<OnboardingSetup['createStateConfig']>;

/**
 * The part of the chart that a registered device lives in: its result is delivered, and its certificate is looked at,
 * verified and renewed.
 *
 * @param backingOff what every wait after a failure has in common
 */
export function registered(parts: OnboardingSetup, backingOff: State) {
  const leaveForGood = {
    guard: 'isPermanent',
    target: '#onboarding.failed',
    actions: { type: 'reportLeft', params: { reason: 'permanent-failure' } },
  } as const;
  const leaveExpired = {
    target: '#onboarding.idle',
    actions: { type: 'reportLeft', params: { reason: 'certificate-expired' } },
  } as const;
  const leaveRefused = {
    target: '#onboarding.idle',
    actions: { type: 'reportLeft', params: { reason: 'certificate-refused' } },
  } as const;
  /** NATS could not be opened; that alone ends no registration. */
  const keepWatching = {
    target: 'watching',
    actions: ['recordFailedVerification', 'reportFailedVerification', 'noteWatch'],
  } as const;

  return parts.createStateConfig({
    description: 'The fleet manager accepted the device. `delivered`: the result is where it belongs.',
    entry: [{ type: 'startStep', params: { step: 'registered' } }, 'noteSuccess', 'forgetVerification'],
    initial: 'delivering',
    states: {
      delivering: {
        description: 'Exports the result and the identity.',
        invoke: {
          src: 'deliverResult',
          onDone: { target: 'checking', actions: 'noteSuccess' },
          onError: [leaveForGood, 'backingOff'],
        },
      },
      backingOff: {
        ...backingOff,
        after: { backoff: 'delivering', expiry: leaveExpired },
        on: {
          CLOCK_STEPPED: [
            { guard: 'hasExpired', ...leaveExpired },
            { guard: 'clockMayCure', target: 'delivering' },
          ],
        },
      },
      watching: {
        description: 'Waits, and looks at the wall clock at least every minute.',
        tags: 'delivered',
        after: { lookInterval: 'checking' },
      },
      checking: {
        description: 'Reads from disk whether the device is still registered and its certificate is due.',
        tags: 'delivered',
        invoke: {
          src: 'resume',
          id: 'resume',
          onDone: [
            { guard: 'mustVerify', target: 'verifying', actions: 'noteDates' },
            { guard: 'isRegistered', target: 'watching', actions: ['noteDates', 'noteWatch'] },
            { guard: 'mayTry', target: 'trying', actions: 'noteDates' },
            { guard: 'mayRenew', target: 'renewing', actions: ['noteDates', 'forgetTrial'] },
            { guard: 'isDue', target: 'watching', actions: 'noteDates' },
            { target: '#onboarding.idle', actions: 'reportLack' },
          ],
          onError: [leaveForGood, 'backingOff'],
        },
      },
      verifying: {
        description: 'Opens NATS with the certificate, to see whether the fleet still knows the device.',
        tags: 'delivered',
        invoke: {
          src: 'verifyRegistration',
          onDone: { target: 'checking', actions: 'noteVerified' },
          onError: [
            {
              guard: 'isRefusedForGood',
              target: 'retreating',
              actions: ['recordFailedVerification', 'reportFailedVerification'],
            },
            keepWatching,
          ],
        },
        after: { connectTimeout: keepWatching },
      },
      retreating: {
        description: 'NATS refuses the certificate for good: goes back to the one before, or leaves.',
        tags: 'delivered',
        invoke: {
          src: 'giveUpCertificate',
          id: 'giveUpCertificate',
          onDone: [
            {
              guard: 'isRolledBack',
              target: 'delivering',
              actions: ['reportRollback', 'restartVerification'],
            },
            leaveRefused,
          ],
          onError: keepWatching,
        },
      },
      renewing: {
        description: 'Requests a certificate in place of the one that is due, and keeps it beside that one.',
        tags: 'delivered',
        entry: 'noteRequest',
        invoke: {
          src: 'renewCertificate',
          id: 'renewCertificate',
          onDone: 'trying',
          onError: 'renewalBackingOff',
        },
        after: { provisioningTimeout: 'renewalBackingOff' },
      },
      trying: {
        description: 'Opens NATS with the new certificate, which takes the place of the old one only then.',
        tags: 'delivered',
        invoke: {
          src: 'tryRenewed',
          id: 'tryRenewed',
          onDone: [
            {
              guard: 'isAddressRefused',
              target: 'delivering',
              actions: ['noteRenewed', 'reportRenewal', 'reportAddress'],
            },
            { target: 'delivering', actions: ['noteRenewed', 'reportRenewal'] },
          ],
          onError: [
            { guard: 'isRefused', target: 'renewalBackingOff', actions: 'noteRefusedTrial' },
            'renewalBackingOff',
          ],
        },
        after: { connectTimeout: 'renewalBackingOff' },
      },
      renewalBackingOff: {
        ...backingOff,
        description: 'The renewal failed; the device stays registered with the certificate it has.',
        tags: 'delivered',
        entry: ['recordFailedRenewal', 'reportFailedRenewal'],
        after: { backoff: 'checking' },
        on: {
          CLOCK_STEPPED: [
            { guard: 'clockMayCure', target: 'checking', actions: 'forgetPace' },
            { guard: 'hasExpired', target: 'checking' },
          ],
        },
      },
    },
  });
}
