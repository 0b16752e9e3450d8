import { and, assign, emit, fromCallback, fromPromise, setup } from 'xstate';
import { catalogue, type ErrorClass, type ErrorCode } from '../errors/catalogue.ts';
import { describe, OnboardingError } from '../errors/onboardingError.ts';
import type { Reason } from '../errors/reasons.ts';
import { backoffMs, longestRetryAfterMs, type RetryPolicy } from './backoff.ts';
import type { Stage } from './stage.ts';

/** What the disk says of where the device stands. */
export interface Resumed {
  readonly stage: Stage;
  /** Milliseconds since 1970; null without a certificate */
  readonly renewAt: number | null;
  /** The certificate has opened a connection to NATS. */
  readonly opened: boolean;
}

/** A certificate that took the place of one that still lived. RFC 3339. */
export interface Renewed {
  readonly notAfter: string;
  readonly renewAt: string;
  /** The certificate has opened a connection to NATS. */
  readonly opened: boolean;
  /** Why the NATS address that came with it is not taken; absent: it is, or there was none */
  readonly addressRefused?: { readonly code: ErrorCode; readonly cause: string };
}

/** What a request for a certificate brought. */
export interface Issued extends Renewed {
  /** Null: it is kept. Else it is kept only once it has opened the NATS server that came with it. */
  readonly candidate: object | null;
}

/** What the machine needs of the configuration. Times in milliseconds. */
export interface Policy {
  readonly retry: RetryPolicy & { readonly failedAfterMs: number };
  readonly provisioningTimeoutMs: number;
  readonly registrationTimeoutMs: number;
  /** Connecting to NATS: name resolution, TCP, TLS and the NATS handshake of every address of the cluster. */
  readonly connectTimeoutMs: number;
}

/** Time and chance come from outside, so that a whole life can be simulated. */
export interface Clock {
  /** Milliseconds since 1970 */
  readonly now: () => number;
  /** Uniform in [0, 1) */
  readonly random: () => number;
}

export interface Failure {
  readonly code: ErrorCode;
  readonly reason: Reason | null;
  readonly class: ErrorClass;
  readonly message: string;
  /** Milliseconds since 1970 */
  readonly at: number;
}

interface Context {
  /** Of the current step, from 1 */
  readonly attempt: number;
  readonly failure: Failure | null;
  readonly delayMs: number;
  /** Milliseconds since 1970; null while nothing waits */
  readonly nextRetryAt: number | null;
  /** When the certificate is due, milliseconds since 1970 */
  readonly renewAt: number | null;
  /** How many certificates were asked for in a row, each within `retry.maxMs` of the one before. */
  readonly requests: number;
  /** Milliseconds since 1970; null: none was asked for */
  readonly lastRequestAt: number | null;
  /** Before then no certificate is asked for, whichever state it would be in. Milliseconds since 1970 */
  readonly nextRequestAt: number | null;
  readonly unopened: Unopened;
}

/** What is known of a certificate that may be of no use: from a wrong server, or for a fleet that has moved. */
interface Unopened {
  /** The certificate has never opened a connection to NATS. */
  readonly isUntried: boolean;
  /** In a row, since there was the certificate */
  readonly failures: number;
  /** The first of them, milliseconds since 1970 */
  readonly since: number | null;
  /** Another certificate is asked for, and this one is kept until it is there. */
  readonly isReplaced: boolean;
  /** How often another one was asked for. */
  readonly rounds: number;
}

/** What one attempt to register tells while it is under way. */
export type RegisterEvent =
  | { readonly type: 'CONNECTED' }
  | { readonly type: 'ASKED' }
  | { readonly type: 'ANSWERED' }
  /** The certificate has expired: nothing can be asked with it. */
  | { readonly type: 'EXPIRED' }
  | { readonly type: 'FAILED'; readonly error: unknown };

export type OnboardingEvent = RegisterEvent | { readonly type: 'CLOCK_STEPPED' };

/** Told to whoever listens: the log. */
export type EmittedEvent =
  | Failed
  | { readonly type: 'certificate.renewed'; readonly notAfter: string; readonly renewAt: string }
  | { readonly type: 'address.refused'; readonly code: ErrorCode; readonly cause: string }
  | { readonly type: 'certificate.useless'; readonly code: ErrorCode; readonly failures: number };

export type Failed = {
  readonly type: 'step.failed';
  readonly step: string;
  readonly code: ErrorCode;
  readonly reason: Reason | null;
  readonly class: ErrorClass;
  readonly attempt: number;
  /** Null: never by itself */
  readonly retryInMs: number | null;
  readonly cause: string;
};

/** The longest between two looks at the wall clock. */
const lookAtCertificateMs = 60_000;
/** Whatever the dates of a certificate say, the disk is not read without a pause. */
const shortestLookMs = 1_000;
/**
 * A certificate that has never opened NATS came from a wrong server, or the fleet has moved: after so many failures in
 * a row, or so long, another one is asked for; twice as many, and twice as long, each time that did not help.
 */
const uselessAfter = { failures: 10, ms: 10 * 60_000, fewest: 3, mostDoublings: 6 } as const;
/** Whatever can go wrong before a server is opened; what comes after counts no more, since then it was opened. */
const uselessCodes: readonly ErrorCode[] = [
  'NATS_TLS',
  'NATS_UNREACHABLE',
  'NATS_DENIED',
  'NATS_NOT_SECURE',
  'REGISTRATION_ANSWER_INVALID',
];
/** The stream's look-ups before a question is repeated; each is bounded by the adapter, this is the backstop. */
const lookUpTimeoutMs = 20_000;

interface Failing {
  readonly step: string;
  readonly error: unknown;
}

function absent(name: string): never {
  throw new Error(`the actor ${name} was not provided`);
}

/**
 * The life of a device, on one page. Every step is a pair: `attempting`, which a timeout or a failure leaves and whose
 * leaving aborts the work, and `backingOff`. Nothing here touches disk, network or clock; the actors do, and the
 * composition root provides them. A start resumes from facts on disk, never from a snapshot.
 */
export function onboarding(policy: Policy, chance: Clock) {
  const failureOf = (error: unknown): OnboardingError =>
    error instanceof OnboardingError
      ? error
      : new OnboardingError('INTERNAL', describe(error), { cause: error });

  /** Bounded, whatever was done to the clock since. */
  const waitForRequest = ({ nextRequestAt }: Context) =>
    Math.min(Math.max(0, (nextRequestAt ?? 0) - chance.now()), longestRetryAfterMs + policy.retry.maxMs);
  /** @param more failures that are not counted yet */
  const isUseless = ({ unopened }: Context, more: number) => {
    const { isUntried, failures, since, rounds } = unopened;
    const doublings = 2 ** Math.min(rounds, uselessAfter.mostDoublings);
    return (
      isUntried &&
      // The time alone says little: the device may have slept, or its clock was set.
      failures + more >= uselessAfter.fewest &&
      (failures + more >= uselessAfter.failures * doublings ||
        chance.now() - (since ?? chance.now()) >= uselessAfter.ms * doublings)
    );
  };

  const parts = setup({
    types: {
      context: {} as Context,
      events: {} as OnboardingEvent,
      emitted: {} as EmittedEvent,
    },
    actors: {
      resume: fromPromise<Resumed>(() => absent('resume')),
      generateKey: fromPromise<void>(() => absent('generateKey')),
      /** `again`: although the certificate at hand still lives. */
      requestCertificate: fromPromise<Issued, { again: boolean }>(() => absent('requestCertificate')),
      /** Opens NATS with a certificate that is not kept yet, and then keeps it. */
      tryCertificate: fromPromise<Renewed, Issued>(() => absent('tryCertificate')),
      prepareIdentity: fromPromise<{ registered: boolean }>(() => absent('prepareIdentity')),
      register: fromCallback<OnboardingEvent>(() => absent('register')),
      deliverResult: fromPromise<void>(() => absent('deliverResult')),
      renewCertificate: fromPromise<Issued>(() => absent('renewCertificate')),
      /** `since`: the wall clock at the failure, so that a step right after it is seen too. */
      watchClock: fromCallback<OnboardingEvent, { since: number }>(() => absent('watchClock')),
    },
    delays: {
      backoff: ({ context }) => context.delayMs,
      provisioningTimeout: policy.provisioningTimeoutMs,
      connectTimeout: policy.connectTimeoutMs,
      lookUpTimeout: lookUpTimeoutMs,
      resultTimeout: policy.registrationTimeoutMs,
      cooldown: policy.retry.failedAfterMs,
      pace: ({ context }) => waitForRequest(context),
      lookInterval: ({ context }) =>
        Math.min(
          lookAtCertificateMs,
          Math.max(
            shortestLookMs,
            waitForRequest(context),
            (context.renewAt ?? Number.POSITIVE_INFINITY) - chance.now(),
          ),
        ),
    },
    guards: {
      permanent: (_, { error }: { error: unknown }) => failureOf(error).class === 'permanent',
      cooldownEnds: () => policy.retry.failedAfterMs > 0,
      clockMayCure: ({ context }) =>
        context.failure !== null && catalogue[context.failure.code].clockSensitive === true,
      mayRequest: ({ context }) => waitForRequest(context) === 0,
      isCandidate: (_, { candidate }: Issued) => candidate !== null,
      isAddressRefused: (_, { addressRefused }: Renewed) => addressRefused !== undefined,
      /** The certificate at hand is kept, whatever the request for another one meets. */
      isReplaced: ({ context }) => context.unopened.isReplaced,
      wasUseless: ({ context }) => isUseless(context, 0),
      isUseless: ({ context }, { error }: { error: unknown }) =>
        uselessCodes.includes(failureOf(error).code) && isUseless(context, 1),
    },
    actions: {
      startStep: assign({ attempt: 1, delayMs: 0, nextRetryAt: null }),
      forgetFailure: assign({ failure: null }),
      nextAttempt: assign({ attempt: ({ context }) => context.attempt + 1, nextRetryAt: null }),
      noteResumed: assign(({ context }, { opened }: Resumed) => ({
        unopened: { ...context.unopened, isUntried: !opened && context.unopened.isUntried },
      })),
      noteOpened: assign(({ context }) => ({
        unopened: { ...context.unopened, isUntried: false, failures: 0, since: null, rounds: 0 },
      })),
      replaceCertificate: assign(({ context }) => ({ unopened: { ...context.unopened, isReplaced: true } })),
      /** Another certificate is there, or is not to be had: what is at hand gets its tries anew. */
      endReplacement: assign(({ context: { unopened } }, { opened }: { opened: boolean }) => ({
        unopened: {
          isUntried: !opened,
          failures: 0,
          since: null,
          isReplaced: false,
          rounds: unopened.rounds + (unopened.isReplaced ? 1 : 0),
        },
      })),
      /** From one request to the next the wait grows, through every state: certificates may live for seconds. */
      noteRequest: assign(({ context }) => {
        const now = chance.now();
        const isInRow = context.lastRequestAt !== null && now - context.lastRequestAt < policy.retry.maxMs;
        const requests = isInRow ? context.requests + 1 : 1;
        const wait = backoffMs(policy.retry, requests, chance.random());
        return { requests, lastRequestAt: now, nextRequestAt: now + wait, nextRetryAt: null };
      }),
      notePace: assign(({ context }) => ({ nextRetryAt: chance.now() + waitForRequest(context) })),
      forgetPace: assign({ nextRequestAt: null, requests: 0, lastRequestAt: null }),
      noteRenewal: assign((_, { renewAt }: { renewAt: number | null }) => ({ renewAt })),
      noteFailure: assign(({ context }, { step, error }: Failing) => {
        const { code, reason, class: errorClass, message, retryAfterMs } = failureOf(error);
        const now = chance.now();
        const permanent = errorClass === 'permanent';
        const isOfRequest = step === 'csr' || step === 'renewing';
        // Requests in a row count through every state, attempts in this one alone.
        const exponent = isOfRequest ? Math.max(context.attempt, context.requests) : context.attempt;
        // A renewal is never given up: the certificate that it replaces would run out.
        const rest = policy.retry.failedAfterMs || (step === 'renewing' ? policy.retry.maxMs : 0);
        const delayMs = permanent ? rest : backoffMs(policy.retry, exponent, chance.random(), retryAfterMs);
        const isOfNats = step === 'registering' && uselessCodes.includes(code);
        const { unopened } = context;
        return {
          failure: { code, reason, class: errorClass, message, at: now },
          delayMs,
          nextRetryAt: permanent && delayMs === 0 ? null : now + delayMs,
          nextRequestAt: isOfRequest ? now + delayMs : context.nextRequestAt,
          unopened: isOfNats
            ? { ...unopened, failures: unopened.failures + 1, since: unopened.since ?? now }
            : unopened,
        };
      }),
      tellFailure: emit(({ context }, { step }: Failing): EmittedEvent => {
        const { code, reason, class: errorClass, message } = context.failure ?? absent('noteFailure');
        const retryInMs = context.nextRetryAt === null ? null : context.delayMs;
        return {
          type: 'step.failed',
          step,
          code,
          reason,
          class: errorClass,
          attempt: context.attempt,
          retryInMs,
          cause: message,
        };
      }),
      tellUseless: emit(({ context }): EmittedEvent => {
        const { code } = context.failure ?? absent('noteFailure');
        return { type: 'certificate.useless', code, failures: context.unopened.failures };
      }),
      tellRenewal: emit(
        (_, { notAfter, renewAt }: Renewed): EmittedEvent => ({
          type: 'certificate.renewed',
          notAfter,
          renewAt,
        }),
      ),
      tellAddressRefused: emit(
        (_, { addressRefused }: Renewed): EmittedEvent => ({
          type: 'address.refused',
          ...(addressRefused ?? absent('addressRefused')),
        }),
      ),
    },
  });

  const noting = (step: string, errorOf: (event: never) => unknown) => {
    const params = ({ event }: { event: unknown }) => ({ step, error: errorOf(event as never) });
    const actions = [
      { type: 'noteFailure', params },
      { type: 'tellFailure', params },
    ] as const;
    return { params, actions };
  };
  /** The two ways a failed attempt can go. */
  const failing = (step: string, errorOf: (event: never) => unknown) => {
    const { params, actions } = noting(step, errorOf);
    return [
      { guard: { type: 'permanent', params }, target: '#onboarding.failed', actions },
      { target: `#onboarding.${step}.backingOff`, actions },
    ] as const;
  };
  /** A certificate that has never opened NATS is not tried for ever. */
  const natsFailing = (errorOf: (event: never) => unknown) => {
    const { params, actions } = noting('registering', errorOf);
    const [permanent, transient] = failing('registering', errorOf);
    return [
      permanent,
      {
        guard: { type: 'isUseless', params },
        target: '#onboarding.csr',
        actions: [...actions, 'tellUseless', 'replaceCertificate'],
      },
      transient,
    ] as const;
  };
  const notOpened = { type: 'endReplacement', params: { opened: false } } as const;
  const endReplacement = {
    type: 'endReplacement',
    params: ({ event }: { event: { output: Renewed } }) => event.output,
  } as const;
  const addressRefused = {
    type: 'tellAddressRefused',
    params: ({ event }: { event: { output: Renewed } }) => event.output,
  } as const;
  /** A device that has a certificate goes on with it where another one cannot be had. */
  const requestFailing = (errorOf: (event: never) => unknown) =>
    [
      {
        guard: 'isReplaced',
        target: '#onboarding.provisioned',
        actions: [...noting('csr', errorOf).actions, notOpened],
      },
      ...failing('csr', errorOf),
    ] as const;
  const errorOf = (event: { error: unknown }) => event.error;
  const thrown = (step: string) => failing(step, (event: { error: unknown }) => event.error);
  const timedOut = (step: string, code: ErrorCode, message: string) =>
    failing(step, () => new OnboardingError(code, message));
  /** A device that is registered stays so, whatever its renewal meets: its certificate still lives. */
  const renewalFailed = (errorOf: (event: never) => unknown) => ({
    target: 'renewalBackingOff' as const,
    actions: noting('renewing', errorOf).actions,
  });
  const noAnswer = `no answer from the provisioning server within ${policy.provisioningTimeoutMs / 1000} s`;
  const seconds = (ms: number) => `${ms / 1000} s`;
  const noConnection = `no connection to the NATS server within ${seconds(policy.connectTimeoutMs)}`;
  /** What the request that led to the trial brought. */
  const issued = ({ event }: { event: unknown }) => (event as { output: Issued }).output;

  const renewed = {
    type: 'tellRenewal',
    params: ({ event }: { event: { output: Renewed } }) => event.output,
  } as const;
  const sinceNow = () => ({ since: chance.now() });
  const sinceFailure = ({ context }: { context: Context }) => ({
    since: context.failure?.at ?? chance.now(),
  });
  const backingOff = parts.createStateConfig({
    invoke: { src: 'watchClock', input: sinceFailure },
    after: { backoff: { target: 'attempting', actions: 'nextAttempt' } },
    on: { CLOCK_STEPPED: { guard: 'clockMayCure', target: 'attempting', actions: 'nextAttempt' } },
  });

  return parts.createMachine({
    id: 'onboarding',
    context: {
      attempt: 1,
      failure: null,
      delayMs: 0,
      nextRetryAt: null,
      renewAt: null,
      requests: 0,
      lastRequestAt: null,
      nextRequestAt: null,
      unopened: { isUntried: true, failures: 0, since: null, isReplaced: false, rounds: 0 },
    },
    initial: 'idle',
    states: {
      idle: {
        entry: 'startStep',
        initial: 'attempting',
        states: {
          attempting: {
            invoke: {
              src: 'resume',
              onDone: [
                { guard: ({ event }) => event.output.stage === 'keygen', target: '#onboarding.keygen' },
                { guard: ({ event }) => event.output.stage === 'csr', target: '#onboarding.csr' },
                {
                  guard: and([({ event }) => event.output.stage === 'provisioned', 'wasUseless']),
                  target: '#onboarding.csr',
                  actions: ['tellUseless', 'replaceCertificate'],
                },
                {
                  guard: ({ event }) => event.output.stage === 'provisioned',
                  target: '#onboarding.provisioned',
                  actions: { type: 'noteResumed', params: ({ event }) => event.output },
                },
                { target: '#onboarding.registered' },
              ],
              onError: thrown('idle'),
            },
          },
          backingOff,
        },
      },
      keygen: {
        entry: 'startStep',
        initial: 'attempting',
        states: {
          attempting: {
            invoke: { src: 'generateKey', onDone: '#onboarding.csr', onError: thrown('keygen') },
          },
          backingOff,
        },
      },
      csr: {
        entry: 'startStep',
        initial: 'pacing',
        states: {
          /** Whatever led here again: requests for certificates keep their distance. */
          pacing: {
            entry: 'notePace',
            invoke: { src: 'watchClock', input: sinceNow },
            always: { guard: 'mayRequest', target: 'attempting' },
            after: { pace: 'attempting' },
            on: { CLOCK_STEPPED: { target: 'attempting', actions: 'forgetPace' } },
          },
          attempting: {
            entry: 'noteRequest',
            invoke: {
              src: 'requestCertificate',
              input: ({ context }) => ({ again: context.unopened.isReplaced }),
              onDone: [
                { guard: { type: 'isCandidate', params: ({ event }) => event.output }, target: 'trying' },
                { target: '#onboarding.provisioned', actions: endReplacement },
              ],
              onError: requestFailing(errorOf),
            },
            after: {
              provisioningTimeout: requestFailing(
                () => new OnboardingError('PROVISIONING_TIMEOUT', noAnswer),
              ),
            },
          },
          trying: {
            invoke: {
              src: 'tryCertificate',
              input: issued,
              onDone: { target: '#onboarding.provisioned', actions: endReplacement },
              onError: requestFailing(errorOf),
            },
            after: {
              connectTimeout: requestFailing(() => new OnboardingError('NATS_UNREACHABLE', noConnection)),
            },
          },
          backingOff,
        },
      },
      provisioned: {
        entry: 'startStep',
        initial: 'attempting',
        states: {
          attempting: {
            invoke: {
              src: 'prepareIdentity',
              onDone: [
                { guard: ({ event }) => event.output.registered, target: '#onboarding.registered' },
                { target: '#onboarding.registering' },
              ],
              onError: thrown('provisioned'),
            },
          },
          backingOff,
        },
      },
      registering: {
        entry: 'startStep',
        initial: 'attempting',
        states: {
          attempting: {
            invoke: { src: 'register', onError: natsFailing(errorOf) },
            on: {
              ANSWERED: '#onboarding.registered',
              EXPIRED: '#onboarding.idle',
              FAILED: natsFailing(errorOf),
            },
            initial: 'connecting',
            states: {
              connecting: {
                on: { CONNECTED: { target: 'lookingUp', actions: 'noteOpened' } },
                after: {
                  connectTimeout: natsFailing(() => new OnboardingError('NATS_UNREACHABLE', noConnection)),
                },
              },
              lookingUp: {
                on: { ASKED: 'awaitingResult' },
                after: {
                  lookUpTimeout: timedOut(
                    'registering',
                    'REGISTRATION_TIMEOUT',
                    `the stream of the results did not answer within ${seconds(lookUpTimeoutMs)}`,
                  ),
                },
              },
              awaitingResult: {
                after: {
                  resultTimeout: timedOut(
                    'registering',
                    'REGISTRATION_TIMEOUT',
                    `no result from the fleet manager within ${seconds(policy.registrationTimeoutMs)}`,
                  ),
                },
              },
            },
          },
          backingOff,
        },
      },
      registered: {
        entry: ['startStep', 'forgetFailure'],
        initial: 'attempting',
        states: {
          attempting: {
            invoke: {
              src: 'deliverResult',
              onDone: { target: 'looking', actions: ['startStep', 'forgetFailure'] },
              onError: thrown('registered'),
            },
          },
          backingOff,
          /** Looks at the wall clock now and then: one long sleep would miss a clock step and a suspend. */
          watching: {
            after: { lookInterval: 'looking' },
          },
          looking: {
            invoke: {
              src: 'resume',
              onDone: [
                {
                  guard: ({ event }) => event.output.stage === 'registered',
                  target: 'watching',
                  actions: [
                    'startStep',
                    'forgetFailure',
                    { type: 'noteRenewal', params: ({ event }) => event.output },
                  ],
                },
                {
                  guard: and([({ event }) => event.output.stage === 'renewal', 'mayRequest']),
                  target: 'renewing',
                },
                {
                  guard: ({ event }) => event.output.stage === 'renewal',
                  target: 'watching',
                  actions: { type: 'noteRenewal', params: ({ event }) => event.output },
                },
                { target: '#onboarding.idle' },
              ],
              onError: thrown('registered'),
            },
          },
          renewing: {
            entry: 'noteRequest',
            invoke: {
              src: 'renewCertificate',
              onDone: [
                { guard: { type: 'isCandidate', params: ({ event }) => event.output }, target: 'trying' },
                { target: 'attempting', actions: renewed },
              ],
              onError: renewalFailed(errorOf),
            },
            after: {
              provisioningTimeout: renewalFailed(() => new OnboardingError('PROVISIONING_TIMEOUT', noAnswer)),
            },
          },
          trying: {
            invoke: {
              src: 'tryCertificate',
              input: issued,
              onDone: [
                {
                  guard: { type: 'isAddressRefused', params: ({ event }) => event.output },
                  target: 'attempting',
                  actions: [renewed, addressRefused],
                },
                { target: 'attempting', actions: renewed },
              ],
              onError: renewalFailed(errorOf),
            },
            after: {
              connectTimeout: renewalFailed(() => new OnboardingError('NATS_UNREACHABLE', noConnection)),
            },
          },
          renewalBackingOff: {
            invoke: { src: 'watchClock', input: sinceFailure },
            after: { backoff: { target: 'looking', actions: 'nextAttempt' } },
            on: {
              CLOCK_STEPPED: {
                guard: 'clockMayCure',
                target: 'looking',
                actions: ['nextAttempt', 'forgetPace'],
              },
            },
          },
        },
      },
      failed: {
        invoke: { src: 'watchClock', input: sinceFailure },
        after: { cooldown: { guard: 'cooldownEnds', target: 'idle' } },
        on: { CLOCK_STEPPED: { guard: 'clockMayCure', target: 'idle', actions: 'forgetPace' } },
      },
    },
  });
}

export type OnboardingMachine = ReturnType<typeof onboarding>;
