import { excerpt, OnboardingError } from '../../errors/onboardingError.ts';
import type { RegisterEvent } from '../../machines/contracts.ts';
import {
  type Announced,
  currentState,
  type DeviceState,
  files,
  isoTime,
  type OpenRequest,
} from '../state/deviceState.ts';
import type { Certificate, CertificateReader } from './acceptCertificate.ts';
import { checkClock } from './clockCheck.ts';
import { type Facts, judgeResult } from './judgeResult.ts';
import {
  type Answer,
  persistResult,
  type RequestPorts,
  recordOpened,
  recordRequest,
  renewMessageId,
  withdrawRequest,
} from './pendingRequest.ts';
import type { Message } from './registrationResult.ts';
import type { Session, SessionEvent } from './session.ts';

export interface Identity {
  readonly deviceId: string;
  readonly key: string;
  readonly certificate: string;
  readonly caCertificate: string;
  readonly natsUrl: string;
}

export interface RegisterPorts extends RequestPorts {
  readonly pki: CertificateReader;
  /** @throws {OnboardingError} NATS_* */
  readonly connect: (identity: Identity, signal: AbortSignal) => Promise<Session>;
  /** Calls back once after so many milliseconds. @returns a function that cancels it */
  readonly setTimer: (ms: number, call: () => void) => () => void;
}

export interface RegisterOptions {
  readonly api: 'jetstream' | 'request';
  /** Fields of the body except id and certificates; null fields are left out. */
  readonly device: Readonly<Record<string, string | null>>;
  /** Replaces the address that provisioning answered */
  readonly natsUrl: string | null;
  /** Which CA the request carries: the answer's `caCertificate`, or the last certificate of its `certificate` */
  readonly caCertificate: 'answer' | 'chain';
  /** When this program was built, milliseconds since 1970 */
  readonly builtAt: number;
}

/** The stream is polled slowly, for a result that the subscription missed. */
const firstPollMs = 1_000;
const slowestPollMs = 5_000;

/**
 * One attempt to register, from connecting to the result. It is safe to repeat: the request is recorded before it is
 * published, keeps its message id until a stream says that it holds it, and an existing answer is adopted before the
 * request is published again.
 *
 * @param emit receives events for the machine; none after ANSWERED or FAILED
 * @returns a function that aborts the attempt
 */
export function register(
  ports: RegisterPorts,
  options: RegisterOptions,
  emit: (event: RegisterEvent) => void,
): () => void {
  const controller = new AbortController();
  const { signal } = controller;
  run(ports, options, (event) => signal.aborted || emit(event), signal).then(
    (end) => signal.aborted || emit(end),
    (error: unknown) => signal.aborted || emit({ type: 'FAILED', error }),
  );
  return () => controller.abort(new Error('the attempt ended'));
}

/** An attempt whose connection is open. */
interface Attempt {
  readonly ports: RegisterPorts;
  readonly options: RegisterOptions;
  readonly emit: (event: RegisterEvent) => void;
  readonly signal: AbortSignal;
  /** The state at the start of the attempt */
  readonly before: DeviceState;
  readonly identity: Identity;
  readonly certificate: Certificate | undefined;
  readonly session: Session;
  /** The subject of the device's results */
  readonly results: string;
}

async function run(
  ports: RegisterPorts,
  options: RegisterOptions,
  emit: Attempt['emit'],
  signal: AbortSignal,
): Promise<RegisterEvent> {
  const before = currentState(ports.directory);
  // The answer is stored already: a later step failed.
  if (before.registration !== null) return { type: 'ANSWERED', alias: before.registration.alias };
  const identity = identityOf(before, ports, options);
  const [certificate] = ports.pki.parseCertificates(identity.certificate);
  if (certificate && ports.now() > certificate.notAfter.getTime()) return { type: 'EXPIRED' };
  checkClock(ports.now(), options.builtAt, certificate);
  const results = `device_results.${identity.deviceId}.register`;
  const session = await ports.connect(identity, signal);
  const close = () => void session.close().catch(() => undefined);
  // Ends the iteration over the events.
  signal.addEventListener('abort', close, { once: true });
  try {
    signal.throwIfAborted();
    const attempt = { ports, options, emit, signal, before, identity, certificate, session, results };
    const { alias } = persistResult(ports, session, await awaitAnswer(attempt), before);
    return { type: 'ANSWERED', alias };
  } finally {
    signal.removeEventListener('abort', close);
    close();
  }
}

/**
 * Publishes the request and reads the session's events up to the answer. The stream is read first if it may hold an answer
 * to an earlier request, or an older result for the same id that must not be taken for an answer.
 */
async function awaitAnswer(attempt: Attempt): Promise<Answer> {
  const { session, before, results, options, signal } = attempt;
  const usesStream = options.api === 'jetstream';
  const poll = pollTimer(attempt);
  if (usesStream) session.subscribe(results);
  attempt.emit({ type: 'CONNECTED' });
  const looksFirst = usesStream && (before.request !== null || !before.idIsNew);
  // Otherwise the subscription is sent together with the request.
  if (looksFirst) recordOpened(attempt.ports, session, before);
  /** The request that was published over this connection */
  let published = looksFirst ? null : publish(attempt, 'unavailable');
  if (looksFirst) session.requestLastStored(results);
  else if (usesStream) poll.schedule();
  let resultsDenied = false;
  try {
    for await (const event of session.events) {
      if (event.type === 'closed') throw event.error;
      if (event.type === 'denied') {
        failIfFatal(attempt, event);
        if (event.operation !== 'subscription' || event.subject !== results) continue;
        resultsDenied = true;
        // The stream is the only way that is left. Whether it can be read is known before the time of the attempt is up.
        if (published !== null) poll.now();
        continue;
      }
      // A message read after the publish may have arrived before it: it can only answer the request open at that time.
      const isEarly = event.type === 'live' && !event.afterPublish;
      const answer = answerIn(attempt, event, isEarly ? before.request : (published ?? before.request));
      if (answer === 'duplicate') {
        // The stream holds the request of an earlier attempt, and the look above brought no answer: that one is lost.
        if (published?.messageId === before.request?.messageId) published = republish(attempt);
        continue;
      }
      if (answer !== null) return answer;
      if (event.type !== 'stored') continue;
      if (event.last === 'unavailable' && resultsDenied) throw denied('subscription', results);
      published ??= publish(attempt, event.last);
      poll.schedule();
    }
  } finally {
    poll.stop();
  }
  signal.throwIfAborted();
  throw new OnboardingError('INTERNAL', 'the events of the NATS session ended without a reason');
}

/**
 * Records the request, then hands it to the connection.
 *
 * @param last the last result in the stream before
 * @throws {OnboardingError} NATS_*: it could not be sent and is withdrawn; STATE_*
 */
function publish(attempt: Attempt, last: Message | 'none' | 'unavailable'): OpenRequest {
  const { ports, session } = attempt;
  attempt.signal.throwIfAborted();
  const request = recordRequest(ports, session, last, announcedBy(attempt.options.device));
  send(attempt, request);
  attempt.emit({ type: 'PUBLISHED' });
  return request;
}

/** Repeats a request that the stream holds, under a new message id. @throws {OnboardingError} NATS_*, STATE_* */
function republish(attempt: Attempt): OpenRequest {
  attempt.signal.throwIfAborted();
  const request = renewMessageId(attempt.ports);
  send(attempt, request);
  return request;
}

/** @throws {OnboardingError} NATS_*: it could not be sent and is withdrawn */
function send(attempt: Attempt, request: OpenRequest): void {
  const { ports, identity, certificate, session, before } = attempt;
  const headers = {
    ID: identity.deviceId,
    timestamp: wholeSeconds(ports.now()),
    'Nats-Msg-Id': request.messageId,
  };
  const body = JSON.stringify(bodyOf(attempt, certificate?.pem ?? identity.certificate));
  try {
    session.publishRequest(`device_actions.${identity.deviceId}.register`, body, headers);
  } catch (error) {
    withdrawRequest(ports, before);
    throw error;
  }
}

/** @throws {OnboardingError} if the request can no longer be answered */
function failIfFatal(attempt: Attempt, event: SessionEvent & { type: 'denied' }): void {
  const { operation, subject } = event;
  const isFatal =
    operation === 'publish' ? subject.startsWith('device_actions.') : attempt.options.api === 'request';
  if (!isFatal) return;
  if (operation === 'publish') withdrawRequest(attempt.ports, attempt.before);
  throw denied(operation, subject);
}

/**
 * @param pendingRequest the request that was open when the message arrived
 * @returns null if the event is not an answer; `duplicate`: the stream dropped the request, which it held already
 * @throws {OnboardingError} if the event makes the attempt fail
 */
function answerIn(
  attempt: Attempt,
  event: SessionEvent & { type: Facts['source'] },
  pendingRequest: OpenRequest | null,
): Answer | 'duplicate' | null {
  const message = event.type === 'stored' ? event.last : event.message;
  if (typeof message === 'string') return null;
  const { ports, options, before, certificate } = attempt;
  const verdict = judgeResult(message, pendingRequest, {
    source: event.type,
    deviceId: before.deviceId,
    idIsNew: before.idIsNew,
    lastRejection: before.lastRejection,
    rejectedRequest: before.rejectedRequest,
    now: ports.now(),
    builtAt: options.builtAt,
    certificate,
  });
  switch (verdict.kind) {
    case 'answer':
      return { message, result: verdict.result };
    case 'duplicate':
      return 'duplicate';
    case 'ignored':
      return null;
    case 'failed':
      throw verdict.error;
    case 'nobody listens':
      withdrawRequest(ports, before);
      throw new OnboardingError(
        'REGISTRATION_TIMEOUT',
        'no fleet manager and no stream listens for requests',
      );
  }
}

/** Polls the stream 1, 2 and 4 seconds after the start, then every 5 seconds, or at once. */
function pollTimer({ ports, session, results }: Attempt) {
  let ms = firstPollMs;
  let cancel = () => {};
  return {
    schedule() {
      cancel();
      cancel = ports.setTimer(ms, () => session.requestLastStored(results));
      ms = Math.min(ms * 2, slowestPollMs);
    },
    now() {
      cancel();
      session.requestLastStored(results);
    },
    stop: () => cancel(),
  };
}

function denied(operation: 'publish' | 'subscription', subject: string): OnboardingError {
  return new OnboardingError(
    'NATS_DENIED',
    `the NATS server denies the ${operation} to ${excerpt(subject)}`,
    {
      reason: 'permission-denied',
    },
  );
}

/** @throws {OnboardingError} STATE_CORRUPT if the certificate or the key does not exist */
function identityOf(state: DeviceState, { directory }: RegisterPorts, options: RegisterOptions): Identity {
  const key = directory.read(files.key);
  if (key === null || state.provisioned === null) {
    throw new OnboardingError('STATE_CORRUPT', `${files.key} or the certificate does not exist`);
  }
  const { certificate, caCertificate, natsUrl } = state.provisioned;
  return { deviceId: state.deviceId, key, certificate, caCertificate, natsUrl: options.natsUrl ?? natsUrl };
}

/** What of the body `registration.onChange` watches. */
export function announcedBy(device: RegisterOptions['device']): Announced {
  const { alias = null, currentOwner = null, buildVersion = null } = device;
  return { alias, currentOwner, buildVersion };
}

function bodyOf({ ports, options, identity }: Attempt, certificate: string) {
  const given = Object.entries(options.device).filter(([, value]) => value !== null);
  const chain = options.caCertificate === 'chain' ? ports.pki.parseCertificates(identity.certificate) : [];
  // A chain of the device's own certificate only names no CA.
  const caCertificate = chain.length > 1 ? chain.at(-1)?.pem : identity.caCertificate;
  return { id: identity.deviceId, ...Object.fromEntries(given), certificate, caCertificate };
}

/** RFC 3339 in whole seconds, as the fleet writes it. */
function wholeSeconds(ms: number): string {
  return isoTime(ms).replace(/\.\d+Z$/, 'Z');
}
