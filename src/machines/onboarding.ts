import type { Clock, Policy } from './contracts.ts';
import { initialContext, missing, onboardingSetup } from './onboardingSetup.ts';

/**
 * The life of a device, on one page. Leaving a step, by a timeout or a failure, aborts its work; `backingOff` and
 * `failed` record the failure that led there. Nothing here touches disk, network or clock: the actors do, and the
 * daemon provides them. A start resumes from facts on disk, never from a snapshot.
 *
 * An invocation whose output is read has its actor's name as id: the output's type follows from it.
 */
export function onboarding(policy: Policy, clock: Clock) {
  const parts = onboardingSetup(policy, clock);
  const watchClock = {
    src: 'watchClock',
    input: () => ({ since: clock.now() }),
    onError: { actions: 'reportUnwatchedClock' },
  } as const;
  const backingOff = parts.createStateConfig({
    description: 'The step failed and is tried again: after a random wait, or once a set clock may cure it.',
    entry: ['recordFailure', 'reportFailure'],
    exit: 'nextAttempt',
    invoke: watchClock,
  });
  const failForGood = { guard: 'isPermanent', target: '#onboarding.failed' } as const;
  const leaveForGood = {
    ...failForGood,
    actions: { type: 'reportLeft', params: { reason: 'permanent-failure' } },
  } as const;
  const leaveExpired = {
    target: '#onboarding.idle',
    actions: { type: 'reportLeft', params: { reason: 'certificate-expired' } },
  } as const;
  /** A device that has a certificate goes on with it if another one is not to be had. */
  const keepCertificate = {
    guard: 'isReplaced',
    target: '#onboarding.provisioned',
    actions: ['recordFailure', 'reportFailure', 'giveUpReplacement'],
  } as const;
  /** A certificate that has never opened NATS is not tried for ever. */
  const replaceCertificate = {
    guard: 'isUseless',
    target: '#onboarding.csr',
    actions: ['recordFailure', 'reportFailure', 'reportUseless', 'startReplacement'],
  } as const;

  return parts.createMachine({
    id: 'onboarding',
    description: 'From first power-on to a registered device, and on with an eye on its certificate.',
    // Nothing loops without a wait; if something ever does, it ends the process instead of hanging it.
    options: { maxIterations: 100 },
    context: initialContext,
    initial: 'idle',
    states: {
      idle: {
        description: 'Finds out where the device stands.',
        entry: { type: 'startStep', params: { step: 'idle' } },
        initial: 'resuming',
        states: {
          resuming: {
            description: 'Reads the facts on disk, repairs what a crash left, makes the id of a new device.',
            invoke: {
              src: 'resume',
              id: 'resume',
              onDone: [
                { guard: 'needsKey', target: '#onboarding.keygen', actions: 'noteIdentity' },
                { guard: 'needsCertificate', target: '#onboarding.csr', actions: 'noteIdentity' },
                {
                  guard: 'wasUseless',
                  target: '#onboarding.csr',
                  actions: ['noteIdentity', 'reportUseless', 'startReplacement'],
                },
                {
                  guard: 'wasRefused',
                  target: '#onboarding.csr',
                  actions: ['noteIdentity', 'startReplacement'],
                },
                {
                  guard: 'mayRegister',
                  target: '#onboarding.provisioned',
                  actions: ['noteIdentity', 'noteOpenedBefore'],
                },
                { target: '#onboarding.registered', actions: 'noteIdentity' },
              ],
              onError: [failForGood, 'backingOff'],
            },
          },
          backingOff: {
            ...backingOff,
            after: { backoff: 'resuming' },
            on: { CLOCK_STEPPED: { guard: 'clockMayCure', target: 'resuming' } },
          },
        },
      },
      keygen: {
        description: 'The device has an id and no key.',
        entry: { type: 'startStep', params: { step: 'keygen' } },
        initial: 'generating',
        states: {
          generating: {
            description: 'Makes the key pair and keeps it.',
            invoke: { src: 'generateKey', onDone: '#onboarding.csr', onError: [failForGood, 'backingOff'] },
          },
          backingOff: {
            ...backingOff,
            after: { backoff: 'generating' },
            on: { CLOCK_STEPPED: { guard: 'clockMayCure', target: 'generating' } },
          },
        },
      },
      csr: {
        description: 'The device has a key and no certificate, or one that is of no use.',
        entry: { type: 'startStep', params: { step: 'csr' } },
        initial: 'pacing',
        states: {
          pacing: {
            description: 'Keeps requests for certificates apart, whatever led here again.',
            entry: 'notePace',
            invoke: watchClock,
            always: { guard: 'mayRequest', target: 'requesting' },
            after: { pace: 'requesting' },
            on: { CLOCK_STEPPED: { target: 'requesting', actions: 'forgetPace' } },
          },
          requesting: {
            description: 'Sends a CSR to the provisioning server and judges what it answers.',
            entry: 'noteRequest',
            invoke: {
              src: 'requestCertificate',
              id: 'requestCertificate',
              input: ({ context }) => ({ isReplacement: context.unopened.isReplaced }),
              onDone: [
                { guard: 'isCandidate', target: 'trying', actions: 'noteCandidate' },
                { target: '#onboarding.provisioned', actions: 'endReplacement' },
              ],
              onError: [keepCertificate, failForGood, 'backingOff'],
            },
            after: { provisioningTimeout: [keepCertificate, { target: 'backingOff' }] },
          },
          trying: {
            description: 'Opens NATS with the new certificate, which is kept only if that succeeds.',
            exit: 'forgetCandidate',
            invoke: {
              src: 'tryCertificate',
              id: 'tryCertificate',
              input: ({ context }) => context.candidate ?? missing('the candidate'),
              onDone: { target: '#onboarding.provisioned', actions: 'endReplacement' },
              onError: [keepCertificate, failForGood, 'backingOff'],
            },
            after: { connectTimeout: [keepCertificate, { target: 'backingOff' }] },
          },
          backingOff: {
            ...backingOff,
            after: { backoff: 'requesting' },
            on: { CLOCK_STEPPED: { guard: 'clockMayCure', target: 'requesting' } },
          },
        },
      },
      provisioned: {
        description: 'The device has a certificate.',
        entry: { type: 'startStep', params: { step: 'provisioned' } },
        initial: 'preparing',
        states: {
          preparing: {
            description: 'Checks the clock against the certificate and exports the identity.',
            invoke: {
              src: 'prepareIdentity',
              id: 'prepareIdentity',
              onDone: [
                { guard: 'hasResult', target: '#onboarding.registered' },
                { target: '#onboarding.registering' },
              ],
              onError: [failForGood, 'backingOff'],
            },
          },
          backingOff: {
            ...backingOff,
            after: { backoff: 'preparing' },
            on: { CLOCK_STEPPED: { guard: 'clockMayCure', target: 'preparing' } },
          },
        },
      },
      registering: {
        description: 'The device asks the fleet manager to register it.',
        entry: { type: 'startStep', params: { step: 'registering' } },
        initial: 'requesting',
        states: {
          requesting: {
            description: 'One connection to NATS, from opening it to the result.',
            invoke: {
              src: 'register',
              input: ({ context }) => ({ deviceId: context.deviceId ?? missing('the device id') }),
              onError: [failForGood, replaceCertificate, 'backingOff'],
            },
            on: {
              ANSWERED: { target: '#onboarding.registered', actions: 'noteAlias' },
              EXPIRED: '#onboarding.idle',
              FAILED: [failForGood, replaceCertificate, 'backingOff'],
            },
            initial: 'connecting',
            states: {
              connecting: {
                description: 'Opens NATS with the certificate.',
                on: { CONNECTED: { target: 'lookingUp', actions: 'noteOpened' } },
                after: {
                  connectTimeout: [replaceCertificate, { target: '#onboarding.registering.backingOff' }],
                },
              },
              lookingUp: {
                description: 'Looks for a result of an earlier request in the stream, then publishes.',
                on: { PUBLISHED: 'awaitingResult' },
                after: { lookUpTimeout: '#onboarding.registering.backingOff' },
              },
              awaitingResult: {
                description: 'The request is published; the fleet manager answers.',
                after: { resultTimeout: '#onboarding.registering.backingOff' },
              },
            },
          },
          backingOff: {
            ...backingOff,
            after: { backoff: 'requesting' },
            on: { CLOCK_STEPPED: { guard: 'clockMayCure', target: 'requesting' } },
          },
        },
      },
      registered: {
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
                {
                  target: 'watching',
                  actions: ['recordFailedVerification', 'reportFailedVerification', 'noteWatch'],
                },
              ],
            },
            after: {
              connectTimeout: {
                target: 'watching',
                actions: ['recordFailedVerification', 'reportFailedVerification', 'noteWatch'],
              },
            },
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
                {
                  target: '#onboarding.idle',
                  actions: { type: 'reportLeft', params: { reason: 'certificate-refused' } },
                },
              ],
              onError: {
                target: 'watching',
                actions: ['recordFailedVerification', 'reportFailedVerification', 'noteWatch'],
              },
            },
          },
          renewing: {
            description:
              'Requests a certificate in place of the one that is due, and keeps it beside that one.',
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
            description:
              'Opens NATS with the new certificate, which takes the place of the old one only then.',
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
            after: { backoff: 'checking', expiry: 'checking' },
            on: {
              CLOCK_STEPPED: [
                { guard: 'clockMayCure', target: 'checking', actions: 'forgetPace' },
                { guard: 'hasExpired', target: 'checking' },
              ],
            },
          },
        },
      },
      failed: {
        description: 'Somebody has to change something. Rests for `retry.failedAfterMs`, then starts over.',
        entry: ['recordFailure', 'reportFailure'],
        invoke: watchClock,
        after: { cooldown: { guard: 'cooldownEnds', target: 'idle' } },
        on: { CLOCK_STEPPED: { guard: 'clockMayCure', target: 'idle', actions: 'forgetPace' } },
      },
    },
  });
}

export type OnboardingMachine = ReturnType<typeof onboarding>;
