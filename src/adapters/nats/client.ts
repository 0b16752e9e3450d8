import { checkServerIdentity } from 'node:tls';
import {
  createInbox,
  type JetStreamManager,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  headers as newHeaders,
} from 'nats';
import { type NatsAddress, parseNatsAddresses, showNatsAddress } from '../../config/natsAddress.ts';
import { classifyNetworkError, isSignatureFailure, networkFailure } from '../../errors/networkProblem.ts';
import { describe, OnboardingError } from '../../errors/onboardingError.ts';
import type { Identity } from '../../services/onboarding/register.ts';
import type { Message } from '../../services/onboarding/registrationResult.ts';
import type { Session } from '../../services/onboarding/session.ts';
import { tlsKey } from '../keys/keyReference.ts';
import { type Attempts, noAttempts, triedWords, unlessUnresolved } from '../net/attempts.ts';
import { addressTimeoutMs } from './connectTimeout.ts';
import { createEventQueue } from './eventQueue.ts';
import { type LastByConsumer, lastByConsumer } from './lastByConsumer.ts';
import { presentedChain } from './presentedChain.ts';
import { connectNats, type TransportOptions } from './transport.ts';
import { trustOrders } from './trustOrder.ts';

/** How NATS is reached. */
export interface NatsWay {
  readonly tls: 'required' | 'optional';
  /** Null: directly */
  readonly proxy: URL | null;
}

export interface JetStreamOptions extends NatsWay {
  /** Null: found by subject */
  readonly resultStream: string | null;
  readonly random: () => number;
  /** Checks the inbox before the session is used: the answer arrives only there. */
  readonly needsInbox: boolean;
}

/** One look-up in a stream; a direct get gets no answer from a stream that does not allow it. */
const lookUpTimeoutMs = 3_000;
/** A half-open connection is noticed after three of these. */
const pingIntervalMs = 5_000;
const privateInbox = (deviceId: string) => `_INBOX_${deviceId}`;

/**
 * Connections with the device's identity. Only the machine retries: no reconnects here, and one pass over the addresses
 * of a cluster, in random order.
 */
export function natsClient(options: JetStreamOptions) {
  /** Some fleets grant the client's default inbox, strict ones only an inbox of the device: learnt from a denial. */
  let inboxPrefix = '_INBOX';
  const memory: Memory = { configured: options.resultStream, stream: options.resultStream, lookUp: null };

  /** @throws {OnboardingError} NATS_* */
  return async function connect(identity: Identity, signal: AbortSignal): Promise<Session> {
    const onDenied: OnDenied = (operation, subject) => {
      if (operation === 'subscription' && subject.startsWith('_INBOX.'))
        inboxPrefix = privateInbox(identity.deviceId);
    };
    const addresses = shuffled(parse(identity.natsUrl), options.random);
    let failure = new OnboardingError('NATS_UNREACHABLE', 'no NATS address is known');
    for (const address of addresses) {
      signal.throwIfAborted();
      try {
        const dialled = await dialInTurn(
          { address, tls: options.tls, proxy: options.proxy, inboxPrefix },
          identity,
          signal,
        );
        const opened = { ...dialled, address, inboxPrefix };
        const session = openSession(opened, memory, onDenied);
        if (options.needsInbox) await assertInbox(opened, session);
        return session;
      } catch (error) {
        if (!(error instanceof OnboardingError)) throw error;
        failure = error;
      }
    }
    throw failure;
  };
}

/**
 * Connects once and subscribes to a subject to check the permission; publishes nothing.
 *
 * @returns whether the server let it subscribe
 * @throws {OnboardingError} NATS_*
 */
export async function trySubscription(
  { address, tls, proxy }: Omit<Target, 'inboxPrefix'>,
  identity: Identity,
  subject: string,
  signal: AbortSignal,
): Promise<'allowed' | 'denied'> {
  const { connection } = await dial({ address, tls, proxy, inboxPrefix: '_INBOX' }, identity, signal);
  try {
    let denied = false;
    connection.subscribe(subject, {
      callback: (error) => {
        denied ||= error !== null;
      },
    });
    // The server answers in order: a denial arrives before the answer to the flush.
    await connection.flush();
    return denied ? 'denied' : 'allowed';
  } catch (error) {
    throw natsError(error, address, false);
  } finally {
    await connection.close();
  }
}

/** Closes the session if the device cannot receive an answer. @throws {OnboardingError} NATS_* */
async function assertInbox({ connection, address, inboxPrefix }: Opened, session: Session): Promise<void> {
  try {
    if (await hasInbox(connection, inboxPrefix)) return;
    throw new OnboardingError('NATS_DENIED', `the NATS server denies the subscription to ${inboxPrefix}.>`, {
      reason: 'permission-denied',
    });
  } catch (error) {
    await session.close().catch(() => undefined);
    throw natsError(error, address, false);
  }
}

/** Subscribes to an inbox of this prefix. @returns false if the server denies it */
async function hasInbox(connection: NatsConnection, prefix: string): Promise<boolean> {
  let denied = false;
  const callback = (error: unknown) => {
    denied ||= error !== null;
  };
  connection.subscribe(createInbox(prefix), { callback });
  // The server answers in order: a denial arrives before the answer to the flush.
  await connection.flush();
  return !denied;
}

/** Facts that a connection learns for the next one. */
interface Memory {
  readonly configured: string | null;
  /** Null: to be found by subject */
  stream: string | null;
  /** The kind of look-up that was answered; null: try both */
  lookUp: LookUp | null;
}

/** By `$JS.API.DIRECT.GET`, by `$JS.API.STREAM.MSG.GET`, or by a push consumer. */
type LookUp = 'direct' | 'request' | 'consumer';

/** What a look-up needs of its session. */
interface Reader {
  readonly connection: NatsConnection;
  readonly manager: Promise<JetStreamManager>;
  readonly memory: Memory;
  readonly inboxPrefix: string;
  /** Told of messages that a consumer brings by itself */
  readonly onFollowing: (message: Msg) => void;
  /** One for the whole session; null: none yet */
  consumer: Promise<LastByConsumer> | null;
}

/** A connection that was made. */
interface Dialled {
  readonly connection: NatsConnection;
  readonly isEncrypted: boolean;
  /** Whether the client ended it by itself; without an error that means for pings that brought no answer. */
  readonly isGivenUp: () => boolean;
}

/** What is dialled, and how. */
interface Target extends NatsWay {
  readonly address: NatsAddress;
  readonly inboxPrefix: string;
}

/** One try, at one address, and pings. */
const once = {
  timeout: addressTimeoutMs,
  reconnect: false,
  resolve: false,
  ignoreClusterUpdates: true,
  pingInterval: pingIntervalMs,
  maxPingOut: 2,
} as const;

/** Dials once, and again only where the server's certificate was held against the wrong one of several CAs of one name. */
async function dialInTurn(target: Target, identity: Identity, signal: AbortSignal): Promise<Dialled> {
  const [first = '', ...others] = trustOrders(identity.caCertificate);
  let dialled = dial(target, { ...identity, caCertificate: first }, signal);
  for (const caCertificate of others) {
    dialled = dialled.catch((error: unknown) => {
      if (!isSignatureFailure(error)) throw error;
      return dial(target, { ...identity, caCertificate }, signal);
    });
  }
  return await dialled;
}

async function dial(
  { address, tls, proxy, inboxPrefix }: Target,
  identity: Identity,
  signal: AbortSignal,
): Promise<Dialled> {
  let serverVerified = false;
  let broken: OnboardingError | null = null;
  let givenUp = false;
  const isGivenUp = () => givenUp;
  const attempts = noAttempts();
  const base: TransportOptions = {
    tls: null,
    proxy,
    signal,
    attempts,
    onBroken: (error) => {
      broken = error;
    },
    onGivenUp: () => {
      givenUp = true;
    },
    ...serverOf(address),
    name: `onboardd ${identity.deviceId}`,
    inboxPrefix,
    ...once,
    ...loginOf(address),
  };
  const secured: TransportOptions = {
    ...base,
    tls: {
      ...tlsKey(identity.key),
      cert: presentedChain(identity.certificate, identity.caCertificate),
      ca: identity.caCertificate,
      // Independent of the environment; any certificate of the fleet's hierarchy can be the anchor.
      rejectUnauthorized: true,
      allowPartialTrustChain: true,
      // Node checks the certificate of an IP address without a server name against "localhost".
      checkServerIdentity: (_name, certificate) => {
        const mismatch = checkServerIdentity(withoutInterface(address.host), certificate);
        serverVerified = mismatch === undefined;
        return mismatch;
      },
    },
  };
  try {
    return { connection: await abortable(secured, signal), isEncrypted: true, isGivenUp };
  } catch (error) {
    const failure = broken ?? believed(dialError(error, address, attempts, serverVerified), serverVerified);
    if (failure.code === 'NATS_NOT_SECURE' && tls === 'optional') {
      const connection = await abortable(base, signal).catch((plain: unknown) => {
        throw dialError(plain, address, attempts, false);
      });
      return { connection, isEncrypted: false, isGivenUp };
    }
    throw failure;
  }
}

/** Before the server is authenticated, anyone on the path can send an alert: it is shown, and does not count as a refusal. */
function believed(failure: OnboardingError, serverVerified: boolean): OnboardingError {
  if (serverVerified || failure.reason !== 'client-certificate-refused') return failure;
  const { code, message, reason } = failure;
  return new OnboardingError(code, message, { reason, cause: new Error('before the server proved itself') });
}

/** The host is dialled with its interface; the client, which parses a URL, gets it without. */
function serverOf({ host, port }: NatsAddress): Pick<TransportOptions, 'host' | 'servers'> {
  return { host, servers: [showNatsAddress({ host: withoutInterface(host), port })] };
}

/** `fe80::1` of `fe80::1%eth0`: neither a URL nor a certificate knows interfaces. */
function withoutInterface(host: string): string {
  return host.replace(/%.*$/, '');
}

/** What the address itself carries, for CONNECT. */
function loginOf({ user, password = '', token }: NatsAddress): Partial<TransportOptions> {
  if (token !== undefined) return { token };
  return user === undefined ? {} : { user, pass: password };
}

/** nats.connect accepts no signal: a connection that is made too late is closed. */
async function abortable(options: TransportOptions, signal: AbortSignal): Promise<NatsConnection> {
  signal.throwIfAborted();
  const pending = connectNats(options);
  return await new Promise((resolve, reject) => {
    const onAbort = () => {
      pending.then(
        (late) => late.close(),
        () => undefined,
      );
      reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    pending.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

interface Opened extends Dialled {
  readonly address: NatsAddress;
  readonly inboxPrefix: string;
}

type OnDenied = (operation: 'publish' | 'subscription', subject: string) => void;

function openSession(opened: Opened, memory: Memory, onDenied: OnDenied): Session {
  const { connection, isEncrypted, address, inboxPrefix } = opened;
  const queue = createEventQueue();
  void watchDenials(connection, (operation, subject) => {
    onDenied(operation, subject);
    queue.push({ type: 'denied', operation, subject });
  });
  connection
    .closed()
    .then((error) => queue.push({ type: 'closed', error: endOf(error, opened.isGivenUp()) }));
  const manager = connection.jetstreamManager({ checkAPI: false, timeout: lookUpTimeoutMs });
  manager.catch(() => undefined);
  let afterPublish = false;
  const onFollowing = (message: Msg) => queue.push({ type: 'live', message: live(message), afterPublish });
  const reader: Reader = { connection, manager, memory, inboxPrefix, onFollowing, consumer: null };
  return {
    isEncrypted,
    events: queue.events,
    subscribe(subject) {
      onSubject(opened, subject, (message) => queue.push({ type: 'live', message, afterPublish }));
    },
    publishRequest(subject, text, fields) {
      const reply = createInbox(inboxPrefix);
      const headers = newHeaders();
      for (const [name, value] of Object.entries(fields)) headers.set(name, value);
      onSubject(opened, reply, (message) => queue.push({ type: 'reply', message }));
      try {
        connection.publish(subject, new TextEncoder().encode(text), { reply, headers });
      } catch (cause) {
        throw natsError(cause, address, false);
      }
      afterPublish = true;
    },
    requestLastStored(subject) {
      lastStored(reader, subject).then((last) => queue.push({ type: 'stored', last }));
    },
    close() {
      queue.end();
      return connection.close();
    },
  };
}

/** @throws {OnboardingError} NATS_* */
function onSubject(
  { connection, address }: Opened,
  subject: string,
  onMessage: (message: Message) => void,
): void {
  try {
    connection.subscribe(subject, { callback: (error, message) => error ?? onMessage(live(message)) });
  } catch (cause) {
    throw natsError(cause, address, false);
  }
}

/** Why the connection ended by itself. */
function endOf(error: unknown, isGivenUp: boolean): OnboardingError {
  if (error instanceof OnboardingError) return error;
  if (isGivenUp && !error)
    return new OnboardingError(
      'NATS_UNREACHABLE',
      'the connection to the NATS server broke: no answer to pings',
      {
        reason: 'timeout',
      },
    );
  const text = `the connection to the NATS server broke${error ? `: ${describe(error)}` : ''}`;
  const { code, reason } = classifyNetworkError(error, 'nats');
  // It was open: whatever ended it, the server is out of reach for now.
  const isOfReach = code === 'NATS_UNREACHABLE';
  return new OnboardingError('NATS_UNREACHABLE', text, {
    cause: error,
    reason: isOfReach ? reason : 'reset',
  });
}

/** Never throws. */
async function lastStored(reader: Reader, subject: string): Promise<Message | 'none' | 'unavailable'> {
  const { memory, manager } = reader;
  try {
    const api = await manager;
    memory.stream ??= await api.streams.find(subject);
    return await readLast(reader, api, subject);
  } catch {
    // The stream may have been recreated under another name.
    memory.stream = memory.configured;
    return 'unavailable';
  }
}

/**
 * A direct get can be permitted for a single device, but a stream that does not allow direct gets never answers. The other
 * look-up works for such streams, but many devices have no permission for it. So both are sent in parallel until it is
 * known which one answers. A consumer, which the server has to keep, is made only if neither does.
 *
 * @throws {Error} if none does
 */
async function readLast(reader: Reader, api: JetStreamManager, subject: string): Promise<Message | 'none'> {
  const { connection, memory } = reader;
  const { stream } = memory;
  if (stream === null) throw new Error('no stream is known');
  const lookUps: Record<LookUp, () => Promise<Message | 'none'>> = {
    direct: () => getDirect(connection, stream, subject),
    request: () => getStored(api, stream, subject),
    consumer: () => getPushed(reader, stream, subject),
  };
  if (memory.lookUp !== null) {
    const found = await lookUps[memory.lookUp]().catch(() => null);
    if (found !== null) return found;
    memory.lookUp = null;
  }
  const tried = (['direct', 'request'] as const).map(async (name) => {
    const found = await lookUps[name]();
    memory.lookUp ??= name;
    return found;
  });
  try {
    return await Promise.any(tried);
  } catch {
    const found = await lookUps.consumer();
    memory.lookUp ??= 'consumer';
    return found;
  }
}

async function getPushed(reader: Reader, stream: string, subject: string): Promise<Message | 'none'> {
  const { connection, inboxPrefix, onFollowing } = reader;
  const place = { stream, subject, inboxPrefix };
  reader.consumer ??= lastByConsumer(connection, place, lookUpTimeoutMs, onFollowing);
  try {
    const last = await (await reader.consumer).last();
    if (last === 'none') return 'none';
    const { storedAt, sequence } = last;
    return message(last.message.data, last.message.headers, { storedAt, sequence });
  } catch (error) {
    reader.consumer = null;
    throw error;
  }
}

async function getDirect(
  connection: NatsConnection,
  stream: string,
  subject: string,
): Promise<Message | 'none'> {
  const { data, headers } = await connection.request(`$JS.API.DIRECT.GET.${stream}.${subject}`, '', {
    timeout: lookUpTimeoutMs,
  });
  if (headers?.code === 404) return 'none';
  // The server appends its headers to those of the publisher.
  const storedAt = Date.parse(headers?.last('Nats-Time-Stamp') ?? '');
  if (Number.isNaN(storedAt)) throw new Error('the answer to a direct get holds no stored message');
  const sequence = Number(headers?.last('Nats-Sequence') || Number.NaN);
  return message(data, headers, { storedAt, sequence: Number.isSafeInteger(sequence) ? sequence : null });
}

async function getStored(api: JetStreamManager, stream: string, subject: string): Promise<Message | 'none'> {
  try {
    const { data, header, time, seq } = await api.streams.getMessage(stream, { last_by_subj: subject });
    const storedAt = time.getTime();
    if (Number.isNaN(storedAt)) throw new Error('the answer to a look-up has no time');
    return message(data, header, { storedAt, sequence: seq });
  } catch (error) {
    if ((error as { code?: string }).code === '404' && !/stream not found/.test(describe(error)))
      return 'none';
    throw error;
  }
}

async function watchDenials(connection: NatsConnection, onDenied: OnDenied): Promise<void> {
  for await (const status of connection.status()) {
    const context = (status as { permissionContext?: { operation: string; subject: string } })
      .permissionContext;
    if (context?.operation === 'publish' || context?.operation === 'subscription') {
      onDenied(context.operation, context.subject);
    }
  }
}

function live({ data, headers }: Msg): Message {
  return message(data, headers, { status: data.length === 0 && headers?.code ? headers.code : null });
}

function message(
  data: Uint8Array,
  headers: MsgHdrs | undefined,
  rest: Partial<Pick<Message, 'storedAt' | 'sequence' | 'status'>>,
): Message {
  const header = (name: string) => headers?.get(name) || null;
  return {
    text: decode(data),
    id: header('ID'),
    timestamp: header('timestamp'),
    ...{ storedAt: null, sequence: null, status: null },
    ...rest,
  };
}

function decode(data: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(data);
  } catch {
    return null;
  }
}

function parse(natsUrl: string): NatsAddress[] {
  try {
    return parseNatsAddresses(natsUrl);
  } catch (cause) {
    throw new OnboardingError('NATS_UNREACHABLE', describe(cause), { cause });
  }
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, rank: random() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ item }) => item);
}

/** The failure of a connection that was not made: one that took too long says which addresses were silent. */
function dialError(
  error: unknown,
  address: NatsAddress,
  attempts: Attempts,
  serverVerified: boolean,
): OnboardingError {
  const failure = natsError(error, address, serverVerified);
  if (failure.reason !== 'timeout') return failure;
  const server = `the NATS server ${showNatsAddress(address)}`;
  const named = networkFailure(error, 'nats', `${server}${triedWords(error, attempts)}`);
  return unlessUnresolved(named, attempts, 'nats', server);
}

/** The one place that wraps the NATS client's errors. */
function natsError(error: unknown, address: NatsAddress, serverVerified: boolean): OnboardingError {
  return networkFailure(error, 'nats', `the NATS server ${showNatsAddress(address)}`, { serverVerified });
}
