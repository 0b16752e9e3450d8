import { assertEvent, assign, emit, fromCallback, fromPromise, setup } from 'xstate';
import { isRefusal } from '../errors/networkProblem.ts';
import type { OnboardingError } from '../errors/onboardingError.ts';
import { longestRetryAfterMs } from './backoff.ts';
import type { Clock } from './clock.ts';
import type {
  Context,
  EmittedEvent,
  Failed,
  GivenUp,
  Issued,
  MachineEvent,
  OnboardingEvent,
  Policy,
  Renewed,
  Resumed,
  Step,
} from './contracts.ts';
import { afterFailedVerification, afterFailure, errorOf, isClockSensitive, timeoutsOf } from './failure.ts';
import { isUrgent, lookIntervalMs, untilExpiryMs } from './renewal.ts';
import { afterRequest, requestWaitMs, unpaced } from './requestPace.ts';
import type { LeaveReason } from './stage.ts';
import {
  afterOpening,
  afterReplacement,
  afterResume,
  becomesUseless,
  isUseless,
  untried,
} from './unopened.ts';
import {
  afterRefusal,
  isForGood,
  isVerificationDue,
  noRefusals,
  unverified,
  verificationAt,
  withinReach,
} from './verification.ts';

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
  notAfter: null,
  verification: unverified,
  trial: noRefusals,
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
): Failed {
  return { type: 'step.failed', step, code, reason, class: errorClass, attempt, retryInMs, cause: message };
}

/** Outputs of actors, from the event that says that they are done. @throws {Error} for another event: a bug in the chart */
function resumed(event: MachineEvent): Resumed {
  assertEvent(event, 'xstate.done.actor.resume');
  return event.output;
}

function issued(event: MachineEvent): Issued {
  assertEvent(event, 'xstate.done.actor.requestCertificate');
  return event.output;
}

/** A certificate that is kept: at once, or once it has opened NATS. */
function renewed(event: MachineEvent): Renewed {
  assertEvent(event, [
    'xstate.done.actor.requestCertificate',
    'xstate.done.actor.tryCertificate',
    'xstate.done.actor.tryRenewed',
  ]);
  return event.output;
}

function datesOf({ renewAt, notAfter }: Renewed): Pick<Context, 'renewAt' | 'notAfter'> {
  return { renewAt: Date.parse(renewAt), notAfter: Date.parse(notAfter) };
}

function givenUp(event: MachineEvent): GivenUp {
  assertEvent(event, 'xstate.done.actor.giveUpCertificate');
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
      /** `isReplacement`: the certificate at hand is still valid, but of no use. */
      requestCertificate: fromPromise<Issued, { isReplacement: boolean }>(() =>
        missing('requestCertificate'),
      ),
      /** Opens NATS with a certificate that is not kept yet, and then keeps it. */
      tryCertificate: fromPromise<Renewed, Issued>(() => missing('tryCertificate')),
      prepareIdentity: fromPromise<{ registered: boolean }>(() => missing('prepareIdentity')),
      register: fromCallback<OnboardingEvent, { deviceId: string }>(() => missing('register')),
      deliverResult: fromPromise<void>(() => missing('deliverResult')),
      /** Keeps what it gets beside the certificate in use. */
      renewCertificate: fromPromise<Renewed>(() => missing('renewCertificate')),
      /** Opens NATS with the renewed certificate, and then puts it in the place of the other. */
      tryRenewed: fromPromise<Renewed>(() => missing('tryRenewed')),
      verifyRegistration: fromPromise<void>(() => missing('verifyRegistration')),
      /** Goes back to the certificate before, or gives the registration up. */
      giveUpCertificate: fromPromise<GivenUp>(() => missing('giveUpCertificate')),
      /** `since`: the wall clock at the failure, so that a step right after it is seen too. */
      watchClock: fromCallback<OnboardingEvent, { since: number }>(() => missing('watchClock')),
    },
  });
}

/** Whether a certificate that is due is renewed now. */
function renewalGuards({ retry }: Policy, clock: Clock) {
  const mayRenew = ({ pace }: Context, { stage }: Resumed) =>
    stage === 'renewal' && requestWaitMs(pace, clock.now(), retry) === 0;
  const mayTry = ({ trial }: Context, { stage, candidate }: Resumed) =>
    stage === 'renewal' && candidate && !isForGood(trial, clock.now(), retry);
  /** With short waits the next look at NATS is always due: a renewal takes its turn after one that failed. */
  const goesFirst = (context: Context, facts: Resumed) =>
    context.failure?.step === 'verifying' && (mayTry(context, facts) || mayRenew(context, facts));
  return { mayRenew, mayTry, goesFirst };
}

/** When something happens, and whether. */
function conditions(policy: Policy, clock: Clock) {
  const { retry } = policy;
  const timeouts = timeoutsOf(policy);
  const requestWait = ({ pace }: Context) => requestWaitMs(pace, clock.now(), retry);
  const renewal = renewalGuards(policy, clock);
  const isRefused = (event: MachineEvent) => policy.refusalsCount && isRefusal(errorOf(event, timeouts));
  return actors().extend({
    delays: {
      provisioningTimeout: timeouts.provisioningTimeout.ms,
      connectTimeout: timeouts.connectTimeout.ms,
      lookUpTimeout: timeouts.lookUpTimeout.ms,
      resultTimeout: timeouts.resultTimeout.ms,
      backoff: ({ context }) => context.delayMs,
      cooldown: retry.failedAfterMs,
      pace: ({ context }) => requestWait(context),
      lookInterval: ({ context }) =>
        lookIntervalMs({ ...context, verifyAt: context.verification.at }, requestWait(context), clock.now()),
      expiry: ({ context }) => untilExpiryMs(context.notAfter, clock.now()),
    },
    guards: {
      isPermanent: ({ event }) => errorOf(event, timeouts).class === 'permanent',
      cooldownEnds: () => retry.failedAfterMs > 0,
      clockMayCure: ({ context }) => isClockSensitive(context.failure),
      mayRequest: ({ context }) => requestWait(context) === 0,
      needsKey: ({ event }) => resumed(event).stage === 'keygen',
      needsCertificate: ({ event }) => resumed(event).stage === 'csr',
      wasUseless: ({ context, event }) =>
        resumed(event).stage === 'provisioned' && isUseless(context.unopened, clock.now(), retry),
      wasRefused: ({ event }) => resumed(event).stage === 'provisioned' && resumed(event).refused,
      mayRegister: ({ event }) => resumed(event).stage === 'provisioned',
      isRegistered: ({ event }) => resumed(event).stage === 'registered',
      mayRenew: ({ context, event }) => renewal.mayRenew(context, resumed(event)),
      mayTry: ({ context, event }) => renewal.mayTry(context, resumed(event)),
      isDue: ({ event }) => resumed(event).stage === 'renewal',
      mustVerify: ({ context, event }) =>
        isVerificationDue(context.verification, resumed(event), clock.now()) &&
        !renewal.goesFirst(context, resumed(event)),
      hasExpired: ({ context: { notAfter } }) => notAfter !== null && clock.now() > notAfter,
      isRefused: ({ event }) => isRefused(event),
      isRefusedForGood: ({ context, event }) =>
        isRefused(event) &&
        isForGood(afterRefusal(context.verification.refusals, clock.now()), clock.now(), retry),
      isRolledBack: ({ event }) => givenUp(event).rolledBackTo !== null,
      hasResult: ({ event }) => prepared(event).registered,
      isCandidate: ({ event }) => issued(event).candidate !== null,
      isAtHand: ({ event }) => issued(event).atHand === true,
      isAddressRefused: ({ event }) => renewed(event).addressRefused !== undefined,
      /** The certificate at hand is kept, whatever the request for another one meets. */
      isReplaced: ({ context }) => context.unopened.isReplaced,
      isUseless: ({ context, event }) =>
        becomesUseless(context.unopened, errorOf(event, timeouts), clock.now(), policy),
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
        const { deviceId, alias, renewAt, notAfter } = resumed(event);
        return { deviceId, alias, renewAt, notAfter };
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
      startReplacement: assign({ unopened: ({ context }) => ({ ...context.unopened, isReplaced: true }) }),
      endReplacement: assign(({ context, event }) => ({
        ...datesOf(renewed(event)),
        unopened: afterReplacement(context.unopened, renewed(event).opened),
      })),
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

/** Changes of the context in `registered`. */
function registeredAssignments(policy: Policy, clock: Clock) {
  const { retry } = policy;
  const timeouts = timeoutsOf(policy);
  const nextLook = (verifiedAt: number | null) =>
    verificationAt(verifiedAt, clock.random(), clock.now(), retry);
  return assignments(policy, clock).extend({
    actions: {
      noteDates: assign(({ context, event }) => {
        const { renewAt, notAfter, verifiedAt } = resumed(event);
        const { verification } = context;
        const longestMs = Math.max(retry.maxMs, retry.failedAfterMs) + longestRetryAfterMs;
        const at = withinReach(verification.at, clock.now(), longestMs) ?? nextLook(verifiedAt);
        return { renewAt, notAfter, verification: { ...verification, at } };
      }),
      /** What could not be tried is verified at once. */
      noteRenewed: assign(({ event }) => {
        const at = renewed(event).opened ? null : clock.now();
        return { ...datesOf(renewed(event)), verification: { ...unverified, at }, trial: noRefusals };
      }),
      /** Nothing is wrong, unless NATS could not be opened last time. */
      noteWatch: assign(({ context: { verification, failure } }) => {
        const fails = verification.failures > 0;
        return {
          attempt: fails ? verification.failures : 1,
          delayMs: 0,
          nextRetryAt: fails ? verification.at : null,
          failure: fails ? failure : null,
        };
      }),
      noteVerified: assign(({ context: { failure } }) => ({
        verification: { ...unverified, at: nextLook(clock.now()) },
        failure: failure?.step === 'verifying' ? null : failure,
      })),
      recordFailedVerification: assign(({ context, event }) =>
        afterFailedVerification(context, errorOf(event, timeouts), policy, clock),
      ),
      /** The certificate that was brought back is verified at once. */
      restartVerification: assign({ verification: () => ({ ...unverified, at: clock.now() }) }),
      forgetVerification: assign({ verification: unverified, trial: noRefusals }),
      forgetTrial: assign({ trial: noRefusals }),
      /** NATS may refuse the certificate in use just as well: it is looked at next. */
      noteRefusedTrial: assign(({ context: { trial, verification } }) => ({
        trial: afterRefusal(trial, clock.now()),
        verification: verification.failures > 0 ? verification : { ...verification, at: clock.now() },
      })),
    },
  });
}

/** What the names in the chart stand for. Actions only assign and emit; the actors are placeholders. */
export function onboardingSetup(policy: Policy, clock: Clock) {
  const timeouts = timeoutsOf(policy);
  return registeredAssignments(policy, clock).extend({
    actions: {
      reportFailure: emit(({ context: { failure, attempt, nextRetryAt, delayMs } }): EmittedEvent => {
        const failed = failure ?? missing('failure');
        return stepFailed(failed.step, failed, attempt, nextRetryAt === null ? null : delayMs);
      }),
      reportFailedRenewal: emit(({ context }): EmittedEvent => {
        const failed = context.failure ?? missing('failure');
        const report = stepFailed(failed.step, failed, context.attempt, context.delayMs);
        return isUrgent(context, clock.now(), context.delayMs) ? { ...report, urgent: true } : report;
      }),
      reportFailedVerification: emit(({ context: { failure, verification } }): EmittedEvent => {
        const failed = failure ?? missing('failure');
        const waitMs = Math.max(0, (verification.at ?? 0) - failed.at);
        return stepFailed(failed.step, failed, verification.failures, waitMs);
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
      reportIssued: emit(({ event }): EmittedEvent => {
        const { serial, notAfter, renewAt } = renewed(event);
        return { type: 'certificate.issued', serial, notAfter, renewAt };
      }),
      reportRenewal: emit(({ event }): EmittedEvent => {
        const { serial, notAfter, renewAt } = renewed(event);
        return { type: 'certificate.renewed', serial, notAfter, renewAt };
      }),
      reportRollback: emit(({ event }): EmittedEvent => {
        const notAfter = givenUp(event).rolledBackTo ?? missing('the certificate before');
        return { type: 'certificate.rolled-back', notAfter };
      }),
      reportLack: emit(({ event }): EmittedEvent => {
        return { type: 'registration.left', reason: resumed(event).lack ?? 'registration-missing' };
      }),
      reportLeft: emit((_, { reason }: { reason: LeaveReason }): EmittedEvent => {
        return { type: 'registration.left', reason };
      }),
      reportAddress: emit(({ event }): EmittedEvent => {
        const { addressRefused } = renewed(event);
        return { type: 'address.refused', ...(addressRefused ?? missing('the refusal')) };
      }),
    },
  });
}

export type OnboardingSetup = ReturnType<typeof onboardingSetup>;
