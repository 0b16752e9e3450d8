import { assign, emit, fromCallback, fromPromise, setup } from 'xstate';
import { catalogue, describe, type ErrorClass, type ErrorCode, OnboardingError } from '../errors.ts';
import { backoffMs, type RetryPolicy } from './backoff.ts';
import type { Stage } from './stage.ts';

/** What the disk says of where the device stands. */
export interface Resumed {
  readonly stage: Stage;
  /** Milliseconds since 1970; null without a certificate */
  readonly renewAt: number | null;
}

/** A certificate that took the place of one that still lived. RFC 3339. */
export interface Renewed {
  readonly notAfter: string;
  readonly renewAt: string;
}

/** The top level of the machine: the only values of `state` in logs and in `status`. */
export const stateNames = [
  'idle',
  'keygen',
  'csr',
  'provisioned',
  'registering',
  'registered',
  'failed',
] as const;
export type StateName = (typeof stateNames)[number];

/** What the machine needs of the configuration. Times in milliseconds. */
export interface Policy {
  readonly retry: RetryPolicy & { readonly failedAfterMs: number };
  readonly provisioningTimeoutMs: number;
  readonly registrationTimeoutMs: number;
  /** Connecting to NATS: name resolution, TCP, TLS and the NATS handshake of every address of the cluster. */
  readonly connectTimeoutMs: number;
}

/** Time and chance come from outside, so that a whole life can be simulated. */
export interface Chance {
  /** Milliseconds since 1970 */
  readonly now: () => number;
  /** Uniform in [0, 1) */
  readonly random: () => number;
}

export interface Failure {
  readonly code: ErrorCode;
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
export type Told = Failed | ({ readonly type: 'certificate.renewed' } & Renewed);

export type Failed = {
  readonly type: 'step.failed';
  readonly step: string;
  readonly code: ErrorCode;
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
export function onboarding(policy: Policy, chance: Chance) {
  const failureOf = (error: unknown): OnboardingError =>
    error instanceof OnboardingError
      ? error
      : new OnboardingError('STATE_CORRUPT', `unexpected: ${describe(error)}`, {
          cause: error,
          class: 'transient',
        });

  const parts = setup({
    types: {
      context: {} as Context,
      events: {} as OnboardingEvent,
      emitted: {} as Told,
    },
    actors: {
      resume: fromPromise<Resumed>(() => absent('resume')),
      generateKey: fromPromise<void>(() => absent('generateKey')),
      requestCertificate: fromPromise<void>(() => absent('requestCertificate')),
      prepareIdentity: fromPromise<{ registered: boolean }>(() => absent('prepareIdentity')),
      register: fromCallback<OnboardingEvent>(() => absent('register')),
      deliverResult: fromPromise<void>(() => absent('deliverResult')),
      renewCertificate: fromPromise<Renewed>(() => absent('renewCertificate')),
      /** `since`: the wall clock at the failure, so that a step right after it is seen too. */
      watchClock: fromCallback<OnboardingEvent, { since: number }>(() => absent('watchClock')),
    },
    delays: {
      backoff: ({ context }) => context.delayMs,
      provisioningTimeout: policy.provisioningTimeoutMs,
      connectTimeout: policy.connectTimeoutMs,
      lookUpTimeout: lookUpTimeoutMs,
      resultTimeout: policy.registrationTimeoutMs,
      rest: policy.retry.failedAfterMs,
      lookInterval: ({ context: { renewAt } }) =>
        Math.min(
          lookAtCertificateMs,
          Math.max(shortestLookMs, (renewAt ?? Number.POSITIVE_INFINITY) - chance.now()),
        ),
    },
    guards: {
      permanent: (_, { error }: { error: unknown }) => failureOf(error).class === 'permanent',
      restEnds: () => policy.retry.failedAfterMs > 0,
      clockMayCure: ({ context }) =>
        context.failure !== null && catalogue[context.failure.code].clockSensitive === true,
    },
    actions: {
      begin: assign({ attempt: 1, delayMs: 0, nextRetryAt: null }),
      forgetFailure: assign({ failure: null }),
      again: assign({ attempt: ({ context }) => context.attempt + 1, nextRetryAt: null }),
      noteRenewal: assign((_, { renewAt }: { renewAt: number | null }) => ({ renewAt })),
      noteFailure: assign(({ context }, { step, error }: Failing) => {
        const { code, class: errorClass, message, retryAfterMs } = failureOf(error);
        const now = chance.now();
        const permanent = errorClass === 'permanent';
        // A renewal is never given up: the certificate that it replaces would run out.
        const rest = policy.retry.failedAfterMs || (step === 'renewing' ? policy.retry.maxMs : 0);
        const delayMs = permanent
          ? rest
          : backoffMs(policy.retry, context.attempt, chance.random(), retryAfterMs);
        return {
          failure: { code, class: errorClass, message, at: now },
          delayMs,
          nextRetryAt: permanent && delayMs === 0 ? null : now + delayMs,
        };
      }),
      tellFailure: emit(({ context }, { step }: Failing): Told => {
        const { code, class: errorClass, message } = context.failure ?? absent('noteFailure');
        const retryInMs = context.nextRetryAt === null ? null : context.delayMs;
        return {
          type: 'step.failed',
          step,
          code,
          class: errorClass,
          attempt: context.attempt,
          retryInMs,
          cause: message,
        };
      }),
      tellRenewal: emit((_, renewed: Renewed): Told => ({ type: 'certificate.renewed', ...renewed })),
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

  const sinceFailure = ({ context }: { context: Context }) => ({
    since: context.failure?.at ?? chance.now(),
  });
  const backingOff = parts.createStateConfig({
    invoke: { src: 'watchClock', input: sinceFailure },
    after: { backoff: { target: 'attempting', actions: 'again' } },
    on: { CLOCK_STEPPED: { guard: 'clockMayCure', target: 'attempting', actions: 'again' } },
  });

  return parts.createMachine({
    id: 'onboarding',
    context: { attempt: 1, failure: null, delayMs: 0, nextRetryAt: null, renewAt: null },
    initial: 'idle',
    states: {
      idle: {
        entry: 'begin',
        initial: 'attempting',
        states: {
          attempting: {
            invoke: {
              src: 'resume',
              onDone: [
                { guard: ({ event }) => event.output.stage === 'keygen', target: '#onboarding.keygen' },
                { guard: ({ event }) => event.output.stage === 'csr', target: '#onboarding.csr' },
                {
                  guard: ({ event }) => event.output.stage === 'provisioned',
                  target: '#onboarding.provisioned',
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
        entry: 'begin',
        initial: 'attempting',
        states: {
          attempting: {
            invoke: { src: 'generateKey', onDone: '#onboarding.csr', onError: thrown('keygen') },
          },
          backingOff,
        },
      },
      csr: {
        entry: 'begin',
        initial: 'attempting',
        states: {
          attempting: {
            invoke: { src: 'requestCertificate', onDone: '#onboarding.provisioned', onError: thrown('csr') },
            after: {
              provisioningTimeout: timedOut('csr', 'PROVISIONING_TIMEOUT', noAnswer),
            },
          },
          backingOff,
        },
      },
      provisioned: {
        entry: 'begin',
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
        entry: 'begin',
        initial: 'attempting',
        states: {
          attempting: {
            invoke: { src: 'register', onError: thrown('registering') },
            on: {
              ANSWERED: '#onboarding.registered',
              EXPIRED: '#onboarding.idle',
              FAILED: thrown('registering'),
            },
            initial: 'connecting',
            states: {
              connecting: {
                on: { CONNECTED: 'lookingUp' },
                after: {
                  connectTimeout: timedOut(
                    'registering',
                    'NATS_UNREACHABLE',
                    `no connection to the NATS server within ${seconds(policy.connectTimeoutMs)}`,
                  ),
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
        entry: ['begin', 'forgetFailure'],
        initial: 'attempting',
        states: {
          attempting: {
            invoke: {
              src: 'deliverResult',
              onDone: { target: 'looking', actions: ['begin', 'forgetFailure'] },
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
                    'begin',
                    'forgetFailure',
                    { type: 'noteRenewal', params: ({ event }) => event.output },
                  ],
                },
                { guard: ({ event }) => event.output.stage === 'renewal', target: 'renewing' },
                { target: '#onboarding.idle' },
              ],
              onError: thrown('registered'),
            },
          },
          renewing: {
            invoke: {
              src: 'renewCertificate',
              onDone: {
                target: 'attempting',
                actions: [{ type: 'tellRenewal', params: ({ event }) => event.output }],
              },
              onError: renewalFailed((event: { error: unknown }) => event.error),
            },
            after: {
              provisioningTimeout: renewalFailed(() => new OnboardingError('PROVISIONING_TIMEOUT', noAnswer)),
            },
          },
          renewalBackingOff: {
            invoke: { src: 'watchClock', input: sinceFailure },
            after: { backoff: { target: 'looking', actions: 'again' } },
            on: { CLOCK_STEPPED: { guard: 'clockMayCure', target: 'looking', actions: 'again' } },
          },
        },
      },
      failed: {
        invoke: { src: 'watchClock', input: sinceFailure },
        after: { rest: { guard: 'restEnds', target: 'idle' } },
        on: { CLOCK_STEPPED: { guard: 'clockMayCure', target: 'idle' } },
      },
    },
  });
}

export type OnboardingMachine = ReturnType<typeof onboarding>;
