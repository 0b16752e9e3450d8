import { excerpt, OnboardingError } from '../../errors/onboardingError.ts';
import type { RegisterEvent } from '../../machines/onboarding.ts';
import {
  currentState,
  type DeviceState,
  files,
  isoTime,
  type OpenRequest,
  type StateDirectory,
  updateState,
} from '../state/deviceState.ts';
import type { CertificateReader } from './acceptCertificate.ts';
import {
  isAcknowledgement,
  isAlreadyRegistered,
  type Message,
  type Result,
  readResult,
} from './registrationResult.ts';
import { checkClock } from './requestCertificate.ts';

/** One connection to NATS with the device's identity. */
export interface Session {
  /** Arms a plain subscription; goes out with whatever follows. */
  subscribe(subject: string, onMessage: (message: Message) => void): void;
  /** Publishes once, with a reply address; replies are a stream's acknowledgement, or an answer. */
  publishRequest(
    subject: string,
    text: string,
    headers: Readonly<Record<string, string>>,
    onReply: (reply: Message) => void,
  ): void;
  /** The last message that a stream holds for the subject, with its sequence. `unavailable`: no stream, no JetStream, or no right. */
  lastStored(subject: string): Promise<Message | 'none' | 'unavailable'>;
  /** The server proved who it is, and saw the device's certificate. */
  readonly isEncrypted: boolean;
  /** Settles when the connection ends by itself. */
  readonly closed: Promise<OnboardingError>;
  close(): Promise<void>;
}

export interface SessionEvents {
  /** The server denied a subject. */
  readonly onDenied: (operation: 'publish' | 'subscription', subject: string) => void;
}

export interface Identity {
  readonly deviceId: string;
  readonly key: string;
  readonly certificate: string;
  readonly caCertificate: string;
  readonly natsUrl: string;
}

export interface RegisterPorts {
  readonly directory: StateDirectory;
  readonly pki: CertificateReader;
  /** @throws {OnboardingError} NATS_* */
  readonly connect: (identity: Identity, events: SessionEvents, signal: AbortSignal) => Promise<Session>;
  readonly now: () => number;
  /** A random UUID */
  readonly randomUUID: () => string;
  /** Calls back once after so many milliseconds. @returns a function that calls it off */
  readonly setTimer: (ms: number, call: () => void) => () => void;
}

export interface RegisterOptions {
  readonly api: 'jetstream' | 'request';
  /** Fields of the body but id and certificates; those that are null are left out. */
  readonly device: Readonly<Record<string, string | null>>;
  /** In place of the address that provisioning answered */
  readonly natsUrl: string | null;
  /** When this program was built, milliseconds since 1970 */
  readonly builtAt: number;
}

/** The stream is read again on a slow timer, for a result that the subscription did not bring. */
const firstLookMs = 1_000;
const slowestLookMs = 5_000;

/**
 * One attempt to register, from connecting to the result. Repeating it is safe: the question keeps its message id, is
 * recorded before it is published, and an answer that is there already is adopted before anything is asked again.
 *
 * @param tell progress for the machine; after ANSWERED or FAILED nothing more is told
 * @returns a function that aborts the attempt
 */
export function register(
  ports: RegisterPorts,
  options: RegisterOptions,
  tell: (event: RegisterEvent) => void,
): () => void {
  const controller = new AbortController();
  const { signal } = controller;
  attempt(ports, options, (event) => signal.aborted || tell(event), signal).then(
    (end) => signal.aborted || tell({ type: end }),
    (error: unknown) => signal.aborted || tell({ type: 'FAILED', error }),
  );
  return () => controller.abort(new Error('the attempt ended'));
}

async function attempt(
  ports: RegisterPorts,
  options: RegisterOptions,
  tell: (event: RegisterEvent) => void,
  signal: AbortSignal,
): Promise<'ANSWERED' | 'EXPIRED'> {
  const { directory, pki, now } = ports;
  const before = currentState(directory);
  // The answer was kept, and something after it failed.
  if (before.registration !== null) return 'ANSWERED';
  const identity = identityOf(before, directory, options);
  const [leaf] = pki.parseCertificates(identity.certificate);
  if (leaf && now() > leaf.notAfter.getTime()) return 'EXPIRED';
  checkClock(now(), options.builtAt, leaf);
  const results = `device_results.${identity.deviceId}.register`;
  const answer = deferred<Answer>();
  signal.addEventListener('abort', () => answer.reject(signal.reason));

  let resultsDenied = false;
  /** Nobody heard the question: it must not count as asked, or another device's id would pass for ours. */
  const withdrawRequest = (reason: unknown) => {
    try {
      updateState(directory, () => ({ request: before.request }));
      answer.reject(reason);
    } catch (error) {
      // Called by the connection: whatever the disk does must not end its reader.
      answer.reject(error);
    }
  };
  const onDenied: SessionEvents['onDenied'] = (operation, subject) => {
    if (operation === 'subscription' && subject === results) resultsDenied = true;
    const fatal = operation === 'publish' ? subject.startsWith('device_actions.') : options.api === 'request';
    if (!fatal) return;
    const denied = new OnboardingError(
      'NATS_DENIED',
      `the NATS server denies the ${operation} ${excerpt(subject)}`,
      { reason: 'permission-denied' },
    );
    if (operation === 'publish') withdrawRequest(denied);
    else answer.reject(denied);
  };
  const session = await ports.connect(identity, { onDenied }, signal);
  try {
    signal.throwIfAborted();
    session.closed.then(answer.reject);
    let pendingRequest = before.request;
    const handleMessage = (message: Message) => {
      // Nothing that arrives before the question is handed to the connection answers it.
      if (pendingRequest === null) return;
      try {
        // Set back since, the clock could not tell an old result from an answer.
        checkClock(now(), options.builtAt, leaf);
      } catch (error) {
        return answer.reject(error);
      }
      try {
        if (!isAnswerTo(message, pendingRequest, before, now(), leaf)) return;
        answer.resolve({ message, result: readResult(message.text) });
      } catch (error) {
        // A damaged message that lies in the stream must not keep the device from asking again.
        if (message.storedAt === null) answer.reject(error);
      }
    };
    const lastStored = async () => {
      const stored = await session.lastStored(results);
      if (stored === 'unavailable' && resultsDenied) {
        answer.reject(
          new OnboardingError('NATS_DENIED', `the NATS server denies the subscription ${results}`, {
            reason: 'permission-denied',
          }),
        );
      }
      return stored;
    };
    const pollLastMessage = async () => {
      const stored = await lastStored();
      if (typeof stored === 'object') handleMessage(stored);
    };
    if (options.api === 'jetstream') session.subscribe(results, handleMessage);
    tell({ type: 'CONNECTED' });
    const looksFirst = options.api === 'jetstream' && (pendingRequest !== null || !before.idIsNew);
    // Else it goes with the question, which follows at once.
    if (looksFirst && session.isEncrypted && before.provisioned?.opened === false)
      updateState(directory, (state) => opened(session, state));
    if (options.api === 'jetstream' && pendingRequest !== null)
      await Promise.race([pollLastMessage(), answer.promise]);
    // An earlier life of this id may have left a result: only what the stream stores after it is an answer.
    const mayBeStale = options.api === 'jetstream' && pendingRequest === null && !before.idIsNew;
    const last = mayBeStale
      ? await Promise.race([lastStored(), answer.promise.then(() => 'unavailable' as const)])
      : 'unavailable';
    if (!answer.settled()) {
      pendingRequest = recordRequest(ports, session, stalenessAfter(last));
      const headers = {
        ID: identity.deviceId,
        timestamp: wholeSeconds(now()),
        'Nats-Msg-Id': pendingRequest.messageId,
      };
      const body = JSON.stringify(bodyOf(identity, leaf?.pem ?? identity.certificate, options));
      const onReply = (reply: Message) => {
        if (reply.status !== null) {
          withdrawRequest(
            new OnboardingError('REGISTRATION_TIMEOUT', 'nobody listens: no fleet manager and no stream'),
          );
        } else if (!isAcknowledgement(reply.text)) handleMessage(reply);
      };
      try {
        session.publishRequest(`device_actions.${identity.deviceId}.register`, body, headers, onReply);
      } catch (error) {
        withdrawRequest(error);
        await answer.promise;
      }
      tell({ type: 'ASKED' });
    }
    const stopLooking = options.api === 'jetstream' ? repeat(ports.setTimer, pollLastMessage) : () => {};
    try {
      persistResult(ports, session, await answer.promise, before.request !== null || before.mayBeRegistered);
    } finally {
      stopLooking();
    }
    return 'ANSWERED';
  } finally {
    session.close().catch(() => undefined);
  }
}

interface Answer {
  readonly message: Message;
  readonly result: Result;
}

/** @throws {OnboardingError} STATE_CORRUPT where the certificate or the key is gone */
function identityOf(state: DeviceState, directory: StateDirectory, options: RegisterOptions): Identity {
  const key = directory.read(files.key);
  if (key === null || state.provisioned === null) {
    throw new OnboardingError('STATE_CORRUPT', `${files.key} or the certificate is gone`);
  }
  const { certificate, caCertificate, natsUrl } = state.provisioned;
  return { deviceId: state.deviceId, key, certificate, caCertificate, natsUrl: options.natsUrl ?? natsUrl };
}

function bodyOf({ deviceId, caCertificate }: Identity, certificate: string, { device }: RegisterOptions) {
  const given = Object.entries(device).filter(([, value]) => value !== null);
  return { id: deviceId, ...Object.fromEntries(given), certificate, caCertificate };
}

/** Over TLS the certificate has opened NATS: from then on its CA is pinned. Part of the next write of the state. */
function opened({ isEncrypted }: Session, { provisioned }: DeviceState): Partial<DeviceState> {
  if (!isEncrypted || provisioned === null) return {};
  return { provisioned: { ...provisioned, opened: true }, pinnedCa: provisioned.caCertificate };
}

/** Durable before the publish: after a crash the device knows that it may have asked. */
function recordRequest(
  { directory, now, randomUUID }: RegisterPorts,
  session: Session,
  staleness: Staleness,
): OpenRequest {
  const { request } = updateState(directory, (state) => ({
    ...opened(session, state),
    request: state.request
      ? { ...state.request, publishes: state.request.publishes + 1 }
      : { messageId: randomUUID(), firstAt: isoTime(now()), publishes: 1, ...staleness },
  }));
  if (request === null)
    throw new OnboardingError('STATE_CORRUPT', 'the question was not recorded', { class: 'transient' });
  return request;
}

type Staleness = Pick<OpenRequest, 'afterSequence' | 'afterStoredAt'>;

/** What an answer must come after, given the last message that the stream holds. */
function stalenessAfter(last: Message | 'none' | 'unavailable'): Staleness {
  if (last === 'none') return { afterSequence: 0, afterStoredAt: null };
  if (last === 'unavailable' || last.storedAt === null) return { afterSequence: null, afterStoredAt: null };
  return { afterSequence: last.sequence, afterStoredAt: isoTime(last.storedAt) };
}

/**
 * Whether the stream held this message already when the question was asked. A stream that was made anew counts from 1
 * again: what was stored well after the result of then, both by the stream's clock, is younger whatever its sequence.
 */
function isStale(
  { sequence, storedAt }: Message,
  { afterSequence, afterStoredAt, firstAt }: OpenRequest,
  idIsNew: boolean,
): boolean {
  if (storedAt === null) return false;
  // The stream could not be read before the question: nothing that was there by then is an answer, however fresh.
  if (afterSequence === null) return !idIsNew && storedAt < Date.parse(firstAt);
  if (sequence !== null && sequence > afterSequence) return false;
  return afterStoredAt === null || storedAt <= Date.parse(afterStoredAt) + toleranceMs;
}

/** A result's `timestamp` is the fleet's clock and counts whole seconds; older than this, it answers another question. */
const toleranceMs = 5 * 60_000;

/**
 * Whether a message answers the question: for this device, not older than the question, not one that the stream held
 * before, not the refusal read before.
 *
 * @throws {OnboardingError} CLOCK_WRONG for a live result that is too old: silence would leave nobody a trace
 */
function isAnswerTo(
  message: Message,
  question: OpenRequest,
  { deviceId, idIsNew, lastRejection }: DeviceState,
  now: number,
  certificate: { notBefore: Date } | undefined,
): boolean {
  if (message.id !== null && message.id !== deviceId) return false;
  if (isStale(message, question, idIsNew)) return false;
  const told = message.timestamp === null ? Number.NaN : Date.parse(message.timestamp);
  const at = Number.isNaN(told) ? message.storedAt : told;
  const stored = message.storedAt !== null;
  // A clock that was set back since would make every answer too old; one that lay in 1970, every result an answer,
  // yet nothing was asked before there was a certificate to ask with.
  const earliest = certificate?.notBefore.getTime() ?? 0;
  const askedAt = Math.max(Math.min(Date.parse(question.firstAt), now), earliest);
  if (at !== null && at < askedAt - toleranceMs) {
    if (stored) return false;
    const dates = `${isoTime(at)}, the question of ${isoTime(askedAt)}`;
    throw new OnboardingError(
      'CLOCK_WRONG',
      `the fleet’s result is of ${dates}: the clocks disagree, or it is an old one`,
    );
  }
  return !(stored && lastRejection !== null && fingerprint(message) === lastRejection);
}

/** The question is closed, and from now on a stream may hold a result for the id. */
const answered = { request: null, idIsNew: false } as const;

/**
 * Keeps the answer, durably. A success is kept as it arrived. `already registered` means registered to a device whose
 * earlier question may have been accepted; to one that asked for the first time, another device has its id.
 *
 * @throws {OnboardingError} REGISTRATION_REJECTED
 */
function persistResult(
  { directory, now }: RegisterPorts,
  session: Session,
  { message, result }: Answer,
  askedBefore: boolean,
): void {
  if (result.kind === 'success' || (askedBefore && isAlreadyRegistered(result.error))) {
    const alias = result.kind === 'success' ? result.alias : null;
    const registration = { alias, at: isoTime(now()), result: message.text ?? '' };
    updateState(directory, (state) => ({
      ...opened(session, state),
      ...answered,
      registration,
      lastRejection: null,
      mayBeRegistered: false,
    }));
    return;
  }
  updateState(directory, (state) => ({
    ...opened(session, state),
    ...answered,
    lastRejection: fingerprint(message),
    mayBeRegistered: state.mayBeRegistered || (state.request !== null && state.request.publishes > 1),
  }));
  throw new OnboardingError('REGISTRATION_REJECTED', `the fleet manager refused: ${result.error}`);
}

function fingerprint({ timestamp, text }: Message): string {
  return `${timestamp ?? ''} ${text ?? ''}`;
}

/** Calls back after 1, 2, 4 and then every 5 seconds, one call at a time. @returns a function that stops it */
function repeat(later: RegisterPorts['setTimer'], call: () => Promise<void>): () => void {
  let cancel = () => {};
  let stopped = false;
  const arm = (ms: number) => {
    cancel = later(ms, () => {
      const next = () => stopped || arm(Math.min(ms * 2, slowestLookMs));
      call().then(next, next);
    });
  };
  arm(firstLookMs);
  return () => {
    stopped = true;
    cancel();
  };
}

/** RFC 3339 in whole seconds, as the fleet writes it. */
function wholeSeconds(ms: number): string {
  return isoTime(ms).replace(/\.\d+Z$/, 'Z');
}

function deferred<T>() {
  let settled = false;
  let resolve = (_: T): void => {};
  let reject = (_: unknown): void => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = (value) => {
      settled = true;
      yes(value);
    };
    reject = (error) => {
      settled = true;
      no(error);
    };
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject, settled: () => settled };
}
