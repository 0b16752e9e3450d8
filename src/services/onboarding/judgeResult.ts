import { OnboardingError } from '../../errors/onboardingError.ts';
import { isoTime, type OpenRequest } from '../state/deviceState.ts';
import { type Message, type Result, readAcknowledgement, readResult } from './registrationResult.ts';
import { checkClock } from './requestCertificate.ts';

/** What the device knows when a message arrives. Times in milliseconds since 1970. */
export interface Facts {
  /** The way the message came: on the subscription, at the request's reply address, or from a stream */
  readonly source: 'live' | 'reply' | 'stored';
  readonly deviceId: string;
  /** The device made its id itself: no earlier life of it left a result. */
  readonly idIsNew: boolean;
  /** `fingerprint` of the rejection that was read last */
  readonly lastRejection: string | null;
  readonly now: number;
  /** When this program was built */
  readonly builtAt: number;
  /** The device's certificate */
  readonly certificate: { readonly notBefore: Date } | undefined;
}

/** What a message is to the device. */
export type Verdict =
  | { readonly kind: 'answer'; readonly result: Result }
  | { readonly kind: 'ignored'; readonly reason: Ignored }
  /** The stream of requests held the request already and dropped this one: nobody hears it. */
  | { readonly kind: 'duplicate' }
  /** The server says that the request reached neither a fleet manager nor a stream. */
  | { readonly kind: 'nobody listens' }
  /** CLOCK_WRONG or REGISTRATION_ANSWER_INVALID: the attempt fails. */
  | { readonly kind: 'failed'; readonly error: OnboardingError };

export type Ignored =
  | 'acknowledgement'
  | 'nothing requested'
  | 'other device'
  /** The stream held it before the request. */
  | 'stale'
  | 'older than the request'
  | 'rejection read before'
  /** A damaged message that lies in the stream must not keep the device from asking again. */
  | 'damaged in the stream';

/** A result's `timestamp` is the fleet's clock and counts whole seconds; older than this, it answers another request. */
export const toleranceMs = 5 * 60_000;

/**
 * Whether a message answers the pending request: for this device, not older than the request, not one that the stream
 * held before, not the rejection read before. Pure.
 *
 * @param pendingRequest the request that was open when the message arrived; null: none
 */
export function judgeResult(message: Message, pendingRequest: OpenRequest | null, facts: Facts): Verdict {
  if (facts.source === 'reply' && message.status !== null) return { kind: 'nobody listens' };
  const acknowledgement = facts.source === 'reply' ? readAcknowledgement(message.text) : null;
  if (acknowledgement === 'duplicate') return { kind: 'duplicate' };
  if (acknowledgement !== null) return ignored('acknowledgement');
  // Nothing that arrives before the request is handed to the connection answers it.
  if (pendingRequest === null) return ignored('nothing requested');
  try {
    // Set back since, the clock could not tell an old result from an answer.
    checkClock(facts.now, facts.builtAt, facts.certificate);
    const reason = reasonToIgnore(message, pendingRequest, facts);
    return reason === null ? { kind: 'answer', result: readResult(message.text) } : ignored(reason);
  } catch (error) {
    if (!(error instanceof OnboardingError)) throw error;
    if (error.code === 'REGISTRATION_ANSWER_INVALID' && facts.source === 'stored')
      return ignored('damaged in the stream');
    return { kind: 'failed', error };
  }
}

/** Recognises a rejection that lies in the stream and is read again. */
export function fingerprint({ timestamp, text }: Message): string {
  return `${timestamp ?? ''} ${text ?? ''}`;
}

/** @throws {OnboardingError} CLOCK_WRONG for a live result that is too old: silence would leave nobody a trace */
function reasonToIgnore(message: Message, request: OpenRequest, facts: Facts): Ignored | null {
  if (message.id !== null && message.id !== facts.deviceId) return 'other device';
  if (isStale(message, request, facts)) return 'stale';
  const at = timeOf(message);
  const askedAt = timeOfRequest(request, facts);
  const isStored = facts.source === 'stored';
  if (at !== null && at < askedAt - toleranceMs) {
    if (isStored) return 'older than the request';
    const dates = `${isoTime(at)}, the question of ${isoTime(askedAt)}`;
    throw new OnboardingError(
      'CLOCK_WRONG',
      `the fleet’s result is of ${dates}: the clocks disagree, or it is an old one`,
    );
  }
  const { lastRejection } = facts;
  const wasRead = isStored && lastRejection !== null && fingerprint(message) === lastRejection;
  return wasRead ? 'rejection read before' : null;
}

/**
 * Whether the stream held this message already when the request was made. A stream that was made anew counts from 1
 * again: what was stored well after the result of then, both by the stream's clock, is younger whatever its sequence.
 */
function isStale(
  { sequence, storedAt }: Message,
  { afterSequence, afterStoredAt, firstAt }: OpenRequest,
  { idIsNew }: Facts,
): boolean {
  if (storedAt === null) return false;
  // The stream could not be read before the request: nothing that was there by then is an answer, however fresh.
  if (afterSequence === null) return !idIsNew && storedAt < Date.parse(firstAt);
  if (sequence !== null && sequence > afterSequence) return false;
  return afterStoredAt === null || storedAt <= Date.parse(afterStoredAt) + toleranceMs;
}

/** By the fleet's clock, else by the stream's, milliseconds since 1970; null: it carries no readable time */
function timeOf({ timestamp, storedAt }: Message): number | null {
  const told = timestamp === null ? Number.NaN : Date.parse(timestamp);
  return Number.isNaN(told) ? storedAt : told;
}

/**
 * A clock that was set back since would make every answer too old; one that lay in 1970, every result an answer, yet
 * nothing was asked before there was a certificate to ask with.
 */
function timeOfRequest({ firstAt }: OpenRequest, { now, certificate }: Facts): number {
  return Math.max(Math.min(Date.parse(firstAt), now), certificate?.notBefore.getTime() ?? 0);
}

function ignored(reason: Ignored): Verdict {
  return { kind: 'ignored', reason };
}
