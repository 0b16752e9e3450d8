import { OnboardingError } from '../../errors/onboardingError.ts';
import {
  type Announced,
  type DeviceState,
  isoTime,
  type OpenRequest,
  type Registration,
  type StateDirectory,
  updateState,
} from '../state/deviceState.ts';
import { fingerprint } from './judgeResult.ts';
import { isAlreadyRegistered, type Message, type Result, reasonOfRejection } from './registrationResult.ts';
import type { Session } from './session.ts';

export interface RequestPorts {
  readonly directory: StateDirectory;
  readonly now: () => number;
  /** A random UUID */
  readonly randomUUID: () => string;
}

export interface Answer {
  readonly message: Message;
  readonly result: Result;
}

/**
 * Records the request durably before it is published: after a crash the device knows that it may have been sent. An open
 * request keeps its message id: whether a stream holds it is not known until that says so.
 *
 * @param last the last result in the stream before the first publish
 * @throws {OnboardingError} STATE_*
 */
export function recordRequest(
  { directory, now, randomUUID }: RequestPorts,
  session: Session,
  last: Message | 'none' | 'unavailable',
  announced: Announced,
): OpenRequest {
  const { request } = updateState(directory, (state) => ({
    ...opened(session, state),
    request: state.request
      ? { ...state.request, publishes: state.request.publishes + 1 }
      : {
          messageId: randomUUID(),
          firstAt: isoTime(now()),
          publishes: 1,
          announced,
          ...stalenessAfter(last),
        },
  }));
  if (request === null)
    throw new OnboardingError('STATE_CORRUPT', 'the request was not recorded', { class: 'transient' });
  return request;
}

/**
 * A new message id for a request that the stream holds and whose answer is lost: under the former one the stream drops
 * every repetition for its duplicate window, two minutes or more. Durable before the publish. It stays the same request:
 * an answer to any of its publishes is its answer, and the fleet manager accepts a device once, however often it hears it.
 *
 * @throws {OnboardingError} STATE_*
 */
export function renewMessageId({ directory, randomUUID }: RequestPorts): OpenRequest {
  const { request } = updateState(directory, (state) => ({
    request: state.request && {
      ...state.request,
      messageId: randomUUID(),
      publishes: state.request.publishes + 1,
    },
  }));
  if (request === null)
    throw new OnboardingError('STATE_CORRUPT', 'the request does not exist any more', { class: 'transient' });
  return request;
}

/**
 * Records that the certificate has opened NATS, and pins its CA. Written at once if the stream has to be read before the
 * request, which may take long and be interrupted. No-op if it is recorded already.
 *
 * @param before the state at the start of the attempt
 * @throws {OnboardingError} STATE_*
 */
export function recordOpened(
  { directory }: Pick<RequestPorts, 'directory'>,
  session: Session,
  before: DeviceState,
): void {
  if (session.isEncrypted && before.provisioned?.opened === false)
    updateState(directory, (state) => opened(session, state));
}

/**
 * Withdraws a request that did not reach anyone. If it still counted as sent, the id of another device could pass for
 * ours.
 *
 * @param before the state before the request was recorded
 * @throws {OnboardingError} STATE_*
 */
export function withdrawRequest({ directory }: Pick<RequestPorts, 'directory'>, before: DeviceState): void {
  updateState(directory, () => ({ request: before.request }));
}

/** Closes the request; from now on a stream may hold a result for the id. */
const answered = { request: null, idIsNew: false } as const;

/**
 * Stores the answer durably; a success as it arrived. `already registered` counts as success if an earlier request of
 * this device may have been accepted; after a first request it means that another device has this id.
 *
 * @param before the state before the request was recorded
 * @returns the registration that was kept
 * @throws {OnboardingError} REGISTRATION_REJECTED, STATE_*
 */
export function persistResult(
  { directory, now }: Pick<RequestPorts, 'directory' | 'now'>,
  session: Session,
  { message, result }: Answer,
  before: DeviceState,
): Registration {
  const askedBefore = before.request !== null || before.mayBeRegistered;
  if (result.kind === 'success' || (askedBefore && isAlreadyRegistered(result.error))) {
    const { registration } = updateState(directory, (state) => ({
      ...opened(session, state),
      ...answered,
      registration: {
        ...received(message, result, state),
        at: isoTime(now()),
        announced: (state.request ?? state.rejectedRequest)?.announced ?? null,
      },
      formerRegistration: null,
      verifiedAt: isoTime(now()),
      lastRejection: null,
      rejectedRequest: null,
      mayBeRegistered: false,
    }));
    if (registration === null)
      throw new OnboardingError('STATE_CORRUPT', 'the registration was not kept', { class: 'transient' });
    return registration;
  }
  updateState(directory, (state) => ({
    ...opened(session, state),
    ...answered,
    lastRejection: fingerprint(message),
    rejectedRequest: isAlreadyRegistered(result.error) ? null : rejected(state),
    mayBeRegistered: state.mayBeRegistered || (state.request !== null && state.request.publishes > 1),
  }));
  throw new OnboardingError(
    'REGISTRATION_REJECTED',
    `the fleet manager rejected the device: ${result.error}`,
    {
      reason: reasonOfRejection(result.error),
    },
  );
}

/** Of a new id no stream held a result before the request; that it was new is not known later. */
function rejected({ request, idIsNew }: DeviceState): OpenRequest | null {
  return request && idIsNew ? { ...request, afterSequence: request.afterSequence ?? 0 } : request;
}

/** A refusal holds neither alias nor token: a device that came back keeps what the fleet gave it before. */
function received(
  { text }: Message,
  result: Result,
  { formerRegistration }: DeviceState,
): Pick<Registration, 'alias' | 'result'> {
  if (result.kind === 'success') return { alias: result.alias, result: text ?? '' };
  const { alias, result: kept } = formerRegistration ?? { alias: null, result: text ?? '' };
  return { alias, result: kept };
}

/** The position in the stream that an answer must come after. @param last the last message that the stream holds */
function stalenessAfter(
  last: Message | 'none' | 'unavailable',
): Pick<OpenRequest, 'afterSequence' | 'afterStoredAt'> {
  if (last === 'none') return { afterSequence: 0, afterStoredAt: null };
  if (last === 'unavailable' || last.storedAt === null) return { afterSequence: null, afterStoredAt: null };
  return { afterSequence: last.sequence, afterStoredAt: isoTime(last.storedAt) };
}

/** Changes of the state after a TLS connection: the certificate has opened NATS, and its CA is pinned. */
function opened({ isEncrypted }: Session, { provisioned }: DeviceState): Partial<DeviceState> {
  if (!isEncrypted || provisioned === null) return {};
  return {
    provisioned: { ...provisioned, opened: true, refused: false },
    pinnedCa: provisioned.caCertificate,
  };
}
