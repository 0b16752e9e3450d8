import { assertEvent, assign, emit, fromCallback, fromPromise, setup } from 'xstate';
import type { OnboardingError } from '../errors/onboardingError.ts';
import type {
  Clock,
  Context,
  EmittedEvent,
  Issued,
  MachineEvent,
  OnboardingEvent,
  Policy,
  Renewed,
  Resumed,
  Step,
} from './contracts.ts';
import { afterFailure, errorOf, isClockSensitive, timeoutsOf } from './failure.ts';
import { lookIntervalMs } from './renewal.ts';
import { afterRequest, requestWaitMs, unpaced } from './requestPace.ts';
import {
  afterOpening,
  afterReplacement,
  afterResume,
  becomesUseless,
  isUseless,
  untried,
} from './unopened.ts';

/** Of a daemon that has just started. */
export const initialContext: Context = {
  deviceId: null,
  alias: null,
  step: 'idle',
  attempt: 1,
  failure: null,
  delayMs: 0,
  nextRetryAt: null,
  renewAt: null,
  candidate: null,
  pace: unpaced,
  unopened: untried,
};

/** For what is provided by the time that it is needed. */
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

/** Outputs of actors, from the event that says that they are done. @throws {Error} for another event: a bug in the chart */
function resumed(event: MachineEvent): Resumed {
  assertEvent(event, 'xstate.done.actor.resume');
  return event.output;
}

function issued(event: MachineEvent): Issued {
  assertEvent(event, ['xstate.done.actor.requestCertificate', 'xstate.done.actor.renewCertificate']);
  return event.output;
}

/** A certificate that is kept: at once, or once it has opened NATS. */
function renewed(event: MachineEvent): Renewed {
  assertEvent(event, [
    'xstate.done.actor.requestCertificate',
    'xstate.done.actor.renewCertificate',
    'xstate.done.actor.tryCertificate',
  ]);
  return event.output;
}

function prepared(event: MachineEvent): { readonly registered: boolean } {
  assertEvent(event, 'xstate.done.actor.prepareIdentity');
  return event.output;
}

/** The types, and a placeholder for each actor. */
function actors() {
  return setup({
    types: {
      context: {} as Context,
      events: {} as MachineEvent,
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
  });
}

/** When something happens, and whether. */
function conditions(policy: Policy, clock: Clock) {
  const { retry } = policy;
  const timeouts = timeoutsOf(policy);
  const requestWait = ({ pace }: Context) => requestWaitMs(pace, clock.now(), retry);
  return actors().extend({
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
      needsKey: ({ event }) => resumed(event).stage === 'keygen',
      needsCertificate: ({ event }) => resumed(event).stage === 'csr',
      wasUseless: ({ context, event }) =>
        resumed(event).stage === 'provisioned' && isUseless(context.unopened, clock.now()),
      mayRegister: ({ event }) => resumed(event).stage === 'provisioned',
      isRegistered: ({ event }) => resumed(event).stage === 'registered',
      mayRenew: ({ context, event }) => resumed(event).stage === 'renewal' && requestWait(context) === 0,
      isDue: ({ event }) => resumed(event).stage === 'renewal',
      hasResult: ({ event }) => prepared(event).registered,
      isCandidate: ({ event }) => issued(event).candidate !== null,
      isAddressRefused: ({ event }) => renewed(event).addressRefused !== undefined,
      /** The certificate at hand is kept, whatever the request for another one meets. */
      isReplaced: ({ context }) => context.unopened.isReplaced,
      isUseless: ({ context, event }) =>
        becomesUseless(context.unopened, errorOf(event, timeouts).code, clock.now()),
    },
  });
}

/** Changes of the context. */
function assignments(policy: Policy, clock: Clock) {
  const { retry } = policy;
  const timeouts = timeoutsOf(policy);
  return conditions(policy, clock).extend({
    actions: {
      startStep: assign((_, { step }: { step: Step }) => ({
        step,
        attempt: 1,
        delayMs: 0,
        nextRetryAt: null,
      })),
      noteSuccess: assign({ attempt: 1, delayMs: 0, nextRetryAt: null, failure: null }),
      nextAttempt: assign({ attempt: ({ context }) => context.attempt + 1, nextRetryAt: null }),
      recordFailure: assign(({ context, event }) =>
        afterFailure(context, { step: context.step, error: errorOf(event, timeouts) }, policy, clock),
      ),
      recordFailedRenewal: assign(({ context, event }) =>
        afterFailure(context, { step: 'renewing', error: errorOf(event, timeouts) }, policy, clock),
      ),
      noteIdentity: assign(({ event }) => {
        const { deviceId, alias } = resumed(event);
        return { deviceId, alias };
      }),
      noteAlias: assign(({ event }) => {
        assertEvent(event, 'ANSWERED');
        return { alias: event.alias };
      }),
      noteOpenedBefore: assign({
        unopened: ({ context, event }) => afterResume(context.unopened, resumed(event).opened),
      }),
      noteOpened: assign({ unopened: ({ context }) => afterOpening(context.unopened) }),
      noteCandidate: assign({ candidate: ({ event }) => issued(event) }),
      forgetCandidate: assign({ candidate: null }),
      noteRenewal: assign({ renewAt: ({ event }) => resumed(event).renewAt }),
      startReplacement: assign({ unopened: ({ context }) => ({ ...context.unopened, isReplaced: true }) }),
      endReplacement: assign({
        unopened: ({ context, event }) => afterReplacement(context.unopened, renewed(event).opened),
      }),
      giveUpReplacement: assign({ unopened: ({ context }) => afterReplacement(context.unopened, false) }),
      noteRequest: assign({
        pace: ({ context }) => afterRequest(context.pace, clock, retry),
        nextRetryAt: null,
      }),
      notePace: assign({
        nextRetryAt: ({ context }) => clock.now() + requestWaitMs(context.pace, clock.now(), retry),
      }),
      forgetPace: assign({ pace: unpaced }),
    },
  });
}

/** What the names in the chart stand for. Actions only assign and emit; the actors are placeholders. */
export function onboardingSetup(policy: Policy, clock: Clock) {
  const timeouts = timeoutsOf(policy);
  return assignments(policy, clock).extend({
    actions: {
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
      reportRenewal: emit(({ event }): EmittedEvent => {
        const { notAfter, renewAt } = renewed(event);
        return { type: 'certificate.renewed', notAfter, renewAt };
      }),
      reportAddress: emit(({ event }): EmittedEvent => {
        const { addressRefused } = renewed(event);
        return { type: 'address.refused', ...(addressRefused ?? missing('the refusal')) };
      }),
    },
  });
}
