import { assign, emit, fromCallback, fromPromise, setup } from 'xstate';
import type { OnboardingError } from '../errors/onboardingError.ts';
import type {
  Clock,
  Context,
  EmittedEvent,
  Issued,
  OnboardingEvent,
  Policy,
  Renewed,
  Resumed,
  Step,
} from './contracts.ts';
import { afterFailure, errorOf, isClockSensitive, timeoutsOf } from './failure.ts';
import { lookIntervalMs } from './renewal.ts';
import { afterRequest, requestWaitMs, unpaced } from './requestPace.ts';
import { afterOpening, afterReplacement, afterResume, becomesUseless, isUseless } from './unopened.ts';

/** For what is provided, or known, by the time that it is needed. */
export function missing(what: string): never {
  throw new Error(`${what} is missing`);
}

/** @param retryInMs milliseconds; null: never by itself */
function stepFailed(
  step: Step,
  {
    code,
    reason,
    class: errorClass,
    message,
  }: Pick<OnboardingError, 'code' | 'reason' | 'class' | 'message'>,
  attempt: number,
  retryInMs: number | null,
): EmittedEvent {
  return { type: 'step.failed', step, code, reason, class: errorClass, attempt, retryInMs, cause: message };
}

/** What the names in the chart stand for. Actions only assign and emit; the actors are placeholders. */
export function onboardingSetup(policy: Policy, clock: Clock) {
  const { retry } = policy;
  const timeouts = timeoutsOf(policy);
  const requestWait = ({ pace }: Context) => requestWaitMs(pace, clock.now(), retry);

  return setup({
    types: {
      context: {} as Context,
      events: {} as OnboardingEvent,
      emitted: {} as EmittedEvent,
      tags: {} as 'delivered',
    },
    actors: {
      resume: fromPromise<Resumed>(() => missing('resume')),
      generateKey: fromPromise<void>(() => missing('generateKey')),
      /** `again`: although the certificate at hand still lives. */
      requestCertificate: fromPromise<Issued, { again: boolean }>(() => missing('requestCertificate')),
      /** Opens NATS with a certificate that is not kept yet, and then keeps it. */
      tryCertificate: fromPromise<Renewed, Issued>(() => missing('tryCertificate')),
      prepareIdentity: fromPromise<{ registered: boolean }>(() => missing('prepareIdentity')),
      register: fromCallback<OnboardingEvent, { deviceId: string }>(() => missing('register')),
      deliverResult: fromPromise<void>(() => missing('deliverResult')),
      renewCertificate: fromPromise<Issued>(() => missing('renewCertificate')),
      /** `since`: the wall clock at the failure, so that a step right after it is seen too. */
      watchClock: fromCallback<OnboardingEvent, { since: number }>(() => missing('watchClock')),
    },
    delays: {
      provisioningTimeout: timeouts.provisioningTimeout.ms,
      connectTimeout: timeouts.connectTimeout.ms,
      lookUpTimeout: timeouts.lookUpTimeout.ms,
      resultTimeout: timeouts.resultTimeout.ms,
      backoff: ({ context }) => context.delayMs,
      cooldown: retry.failedAfterMs,
      pace: ({ context }) => requestWait(context),
      lookInterval: ({ context }) => lookIntervalMs(context.renewAt, requestWait(context), clock.now()),
    },
    guards: {
      isPermanent: ({ event }) => errorOf(event, timeouts).class === 'permanent',
      cooldownEnds: () => retry.failedAfterMs > 0,
      clockMayCure: ({ context }) => isClockSensitive(context.failure),
      mayRequest: ({ context }) => requestWait(context) === 0,
      needsKey: (_, { stage }: Resumed) => stage === 'keygen',
      needsCertificate: (_, { stage }: Resumed) => stage === 'csr',
      wasUseless: ({ context }, { stage }: Resumed) =>
        stage === 'provisioned' && isUseless(context.unopened, clock.now()),
      mayRegister: (_, { stage }: Resumed) => stage === 'provisioned',
      isRegistered: (_, { stage }: Resumed) => stage === 'registered',
      mayRenew: ({ context }, { stage }: Resumed) => stage === 'renewal' && requestWait(context) === 0,
      isDue: (_, { stage }: Resumed) => stage === 'renewal',
      hasResult: (_, { registered }: { registered: boolean }) => registered,
      isCandidate: (_, { candidate }: Issued) => candidate !== null,
      isAddressRefused: (_, { addressRefused }: Renewed) => addressRefused !== undefined,
      /** The certificate at hand is kept, whatever the request for another one meets. */
      isReplaced: ({ context }) => context.unopened.isReplaced,
      isUseless: ({ context, event }) =>
        becomesUseless(context.unopened, errorOf(event, timeouts).code, clock.now()),
    },
    actions: {
      startStep: assign((_, { step }: { step: Step }) => ({
        step,
        attempt: 1,
        delayMs: 0,
        nextRetryAt: null,
      })),
      noteSuccess: assign({ attempt: 1, delayMs: 0, nextRetryAt: null, failure: null }),
      nextAttempt: assign({ attempt: ({ context }) => context.attempt + 1, nextRetryAt: null }),
      recordFailure: assign(({ context, event }, { step }: { step: Step }) =>
        afterFailure(context, step, errorOf(event, timeouts), policy, clock),
      ),
      noteDevice: assign((_, { deviceId }: Resumed) => ({ deviceId })),
      noteOpenedBefore: assign(({ context }, { opened }: Resumed) => ({
        unopened: afterResume(context.unopened, opened),
      })),
      noteOpened: assign({ unopened: ({ context }) => afterOpening(context.unopened) }),
      noteCandidate: assign((_, candidate: Issued) => ({ candidate })),
      forgetCandidate: assign({ candidate: null }),
      noteRenewal: assign((_, { renewAt }: Resumed) => ({ renewAt })),
      startReplacement: assign({ unopened: ({ context }) => ({ ...context.unopened, isReplaced: true }) }),
      endReplacement: assign(({ context }, { opened }: { opened: boolean }) => ({
        unopened: afterReplacement(context.unopened, opened),
      })),
      noteRequest: assign({
        pace: ({ context }) => afterRequest(context.pace, clock, retry),
        nextRetryAt: null,
      }),
      notePace: assign({ nextRetryAt: ({ context }) => clock.now() + requestWait(context) }),
      forgetPace: assign({ pace: unpaced }),
      reportFailure: emit(({ context: { failure, attempt, nextRetryAt, delayMs } }): EmittedEvent => {
        const failed = failure ?? missing('failure');
        return stepFailed(failed.step, failed, attempt, nextRetryAt === null ? null : delayMs);
      }),
      /** The wait goes on without it. */
      reportUnwatchedClock: emit(({ context: { step, attempt, nextRetryAt }, event }): EmittedEvent => {
        const retryInMs = nextRetryAt === null ? null : Math.max(0, nextRetryAt - clock.now());
        return stepFailed(step, errorOf(event, timeouts), attempt, retryInMs);
      }),
      reportUseless: emit(({ context: { failure, unopened } }): EmittedEvent => {
        const { code } = failure ?? missing('failure');
        return { type: 'certificate.useless', code, failures: unopened.failures };
      }),
      reportRenewal: emit(
        (_, { notAfter, renewAt }: Renewed): EmittedEvent => ({
          type: 'certificate.renewed',
          notAfter,
          renewAt,
        }),
      ),
      reportAddress: emit(
        (_, { addressRefused }: Renewed): EmittedEvent => ({
          type: 'address.refused',
          ...(addressRefused ?? missing('the refusal')),
        }),
      ),
    },
  });
}
