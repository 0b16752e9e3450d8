import type { Clock } from './clock.ts';
import type { Policy } from './contracts.ts';
import { initialContext, missing, onboardingSetup } from './onboardingSetup.ts';
import { registered } from './registered.ts';

/**
 * The life of a device, on one page; that of a registered one is in `registered.ts`. Leaving a step, by a timeout or a failure, aborts its work; `backingOff` and
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
  /** Waits, then goes back to `step`; at once if a set clock may cure the failure. */
  const retryOf = (step: string) =>
    parts.createStateConfig({
      ...backingOff,
      after: { backoff: step },
      on: { CLOCK_STEPPED: { guard: 'clockMayCure', target: step } },
    });
  const failForGood = { guard: 'isPermanent', target: '#onboarding.failed' } as const;
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
          backingOff: retryOf('resuming'),
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
          backingOff: retryOf('generating'),
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
                { guard: 'isAtHand', target: '#onboarding.provisioned', actions: 'endReplacement' },
                { target: '#onboarding.provisioned', actions: ['endReplacement', 'reportIssued'] },
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
              onDone: [
                {
                  guard: 'isAddressRefused',
                  target: '#onboarding.provisioned',
                  actions: ['endReplacement', 'reportIssued', 'reportAddress'],
                },
                { target: '#onboarding.provisioned', actions: ['endReplacement', 'reportIssued'] },
              ],
              onError: [keepCertificate, failForGood, 'backingOff'],
            },
            after: { connectTimeout: [keepCertificate, { target: 'backingOff' }] },
          },
          backingOff: retryOf('requesting'),
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
          backingOff: retryOf('preparing'),
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
          backingOff: retryOf('requesting'),
        },
      },
      registered: registered(parts, backingOff),
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
