import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, TLSSocket, type ConnectionOptions as TlsOptions } from 'node:tls';
import { type ConnectionOptions, ErrorCode, type NatsConnection, NatsError } from 'nats';
import {
  NatsConnectionImpl,
  setTransportFactory,
  type Transport,
} from 'nats/lib/nats-base-client/internal_mod.js';
import { OnboardingError } from '../../errors/onboardingError.ts';
import { parseJson } from '../../text/json.ts';
import { type Attempts, addressAttemptMs, lookUpSilentLast, noteAttempts } from '../net/attempts.ts';
import { serverName } from '../net/serverName.ts';
import { openTunnel } from '../net/tunnel.ts';
import { frameGuard, longestLine } from './frames.ts';

export interface TransportOptions extends Omit<ConnectionOptions, 'tls'> {
  /** In place of the client's, which parses it as part of a URL: that has no room for an interface (`fe80::1%eth0`) */
  readonly host?: string;
  /** Null: clear text, even if the server offers TLS */
  readonly tls: TlsOptions | null;
  /** Through which the server is reached; null: directly */
  readonly proxy: URL | null;
  /** Receives the error that ended the connection, if the server caused it. */
  readonly onBroken: (error: OnboardingError) => void;
  /** Called if the client gives the connection up: its pings brought no answer, or the server reported an error. */
  readonly onGivenUp: () => void;
  /** Ends the connection, also while connecting. */
  readonly signal: AbortSignal;
  /** Is told what was done to reach the server, unless a proxy does that. */
  readonly attempts: Attempts;
}

/** The version of the NATS client, which a server shows among its connections; the client exports it nowhere. */
export const clientVersion = '2.29.3';

/** Answers to pings pile up if a server does not read; a real publish is a few kilobytes. */
const mostUnsent = 1024 * 1024;

/**
 * `connect` of the NATS client over our own transport. The client's transport keeps bytes that arrive in clear text after
 * the server's INFO, and treats them after the TLS handshake as if they came through it (nats.js 2.29.3 and 3.4.0): with
 * them an attacker on the path could forge a registration result despite mutual TLS.
 *
 * @throws {OnboardingError} NATS_TLS if clear text follows INFO; otherwise the errors of the client
 */
export function connectNats(options: TransportOptions): Promise<NatsConnection> {
  setTransportFactory({ factory: () => new NatsTransport() });
  return NatsConnectionImpl.connect(options as ConnectionOptions) as Promise<NatsConnection>;
}

class NatsTransport implements Transport {
  readonly lang = 'nats.js';
  readonly version = clientVersion;
  closeError?: Error;
  #socket: Socket | undefined;
  #serverInfo: Uint8Array = new Uint8Array();
  #isClosed = false;
  /** Ends a tunnel that is not open yet: the client gives up without a word to it. */
  readonly #ended = new AbortController();
  #onBroken: TransportOptions['onBroken'] = () => {};
  #onGivenUp: TransportOptions['onGivenUp'] = () => {};
  #settleClosed: (error?: Error) => void = () => {};
  readonly #closed = new Promise<Error | undefined>((resolve) => {
    this.#settleClosed = resolve;
  });

  get isClosed(): boolean {
    return this.#isClosed;
  }

  async connect(server: { hostname: string; port: number }, options: object): Promise<void> {
    const { tls, proxy, onBroken, onGivenUp, signal, attempts } = options as TransportOptions;
    const { host = server.hostname } = options as TransportOptions;
    const { port } = server;
    this.#onBroken = onBroken;
    this.#onGivenUp = onGivenUp;
    const onAbort = () => this.#end(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    this.#closed.finally(() => signal.removeEventListener('abort', onAbort));
    try {
      const socket =
        proxy === null
          ? dialDirectly(host, port, attempts)
          : await openTunnel(proxy, { host, port }, 'nats', this.#ended.signal);
      this.#use(socket);
      if (this.#isClosed) {
        socket.destroy();
        throw this.closeError ?? new Error('the connection was given up');
      }
      this.#serverInfo = await readServerInfo(this.#socket as Socket, tls !== null);
      if (tls !== null) await secured(this.#use(startTls(this.#socket as Socket, host, tls)));
    } catch (error) {
      this.#end(error as Error);
      throw error;
    }
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    let failure: Error | undefined;
    try {
      yield this.#serverInfo;
      const check = frameGuard();
      for await (const chunk of this.#socket as AsyncIterable<Buffer>) {
        check(chunk);
        yield chunk;
      }
    } catch (error) {
      // After close() the end of the stream is reported as an error.
      if (!this.#isClosed) failure = this.#judge(error as Error);
    } finally {
      this.#end(failure);
    }
  }

  isEncrypted(): boolean {
    return this.#socket instanceof TLSSocket;
  }

  send(frame: Uint8Array): void {
    if (this.#isClosed) return;
    this.#socket?.write(frame);
    if ((this.#socket?.writableLength ?? 0) <= mostUnsent) return;
    const broken = new OnboardingError(
      'NATS_UNREACHABLE',
      `the NATS server does not read: ${mostUnsent} bytes are unsent`,
      { reason: 'timeout' },
    );
    this.#onBroken(broken);
    this.#end(broken);
  }

  async close(error?: Error): Promise<void> {
    this.#end(error);
  }

  disconnect(): void {
    this.#onGivenUp();
    this.#end();
  }

  closed(): Promise<Error | undefined> {
    return this.#closed;
  }

  discard(): void {
    // No throttling.
  }

  /** An unhandled rejection must not end the process; the iterator reports the error in any case. */
  #use<T extends Socket>(socket: T): T {
    socket.on('error', () => undefined);
    socket.setNoDelay(true);
    this.#socket = socket;
    return socket;
  }

  #judge(error: Error): Error {
    if (!(error instanceof RangeError)) return error;
    const broken = new OnboardingError(
      'REGISTRATION_ANSWER_INVALID',
      `the NATS server sent ${error.message}`,
    );
    this.#onBroken(broken);
    return broken;
  }

  #end(error?: Error): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (error !== undefined) this.closeError = error;
    this.#socket?.destroy();
    this.#ended.abort(error);
    this.#settleClosed(error);
  }
}

function dialDirectly(host: string, port: number, attempts: Attempts): Socket {
  const options = { autoSelectFamilyAttemptTimeout: addressAttemptMs, lookup: lookUpSilentLast };
  const socket = connectTcp({ host, port, ...options });
  noteAttempts(socket, host, attempts);
  return socket;
}

/**
 * Reads only the server's INFO: if TLS follows, any further bytes are refused.
 *
 * @returns the line, CR LF included
 * @throws {OnboardingError} NATS_TLS; {NatsError} SERVER_OPT_NA if the server offers no TLS; {Error} of the socket
 */
async function readServerInfo(socket: Socket, tlsIsDue: boolean): Promise<Buffer> {
  let bytes = Buffer.alloc(0);
  const end = await new Promise<number>((resolve, reject) => {
    const onData = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      const at = bytes.indexOf('\r\n');
      if (at < 0 && bytes.length <= longestLine) return;
      // In the same turn: later bytes stay in the socket, for TLS to read.
      socket.off('data', onData);
      socket.pause();
      resolve(at);
    };
    socket.on('data', onData);
    socket.once('error', reject);
    socket.once('close', () =>
      reject(new NatsError('the server closed the connection', ErrorCode.ConnectionClosed)),
    );
  });
  if (end < 0 || end > longestLine) throw interference(`an INFO longer than ${longestLine} bytes`);
  const info = parseServerInfo(bytes.subarray(0, end).toString('utf8'));
  const offersTls = info.tls_required === true || info.tls_available === true;
  const rest = bytes.subarray(end + 2);
  const serverInfo = Buffer.from(`INFO ${JSON.stringify(info)}\r\n`);
  if (!tlsIsDue) {
    socket.unshift(rest);
    return serverInfo;
  }
  if (!offersTls) throw new NatsError('tls', ErrorCode.ServerOptionNotAvailable);
  if (rest.length > 0) throw interference('clear text behind its INFO');
  return serverInfo;
}

/**
 * The part of INFO that the client needs. It arrived in clear text, so it is untrusted: an invalid version makes the client
 * print the whole text, and cluster addresses are not used.
 *
 * @throws {Error} if the line is not the INFO of a NATS server
 */
function parseServerInfo(line: string): Record<string, unknown> {
  const [, json] = /^INFO[ \t]+(\{[^\r\n]*)$/i.exec(line) ?? [];
  try {
    const all = parseJson(json ?? '') as Record<string, unknown>;
    if (typeof all.version !== 'string' || !/^\d{1,5}\.\d{1,5}\.\d{1,5}/.test(all.version))
      throw new Error('no version');
    const known = Object.entries(infoFields).filter(([name, type]) => typeof all[name] === type);
    const info = Object.fromEntries(known.map(([name]) => [name, all[name]]));
    return { ...info, version: /^[\d.]+/.exec(all.version)?.[0] };
  } catch {
    throw new Error('unexpected response from server');
  }
}

const infoFields = {
  server_id: 'string',
  proto: 'number',
  headers: 'boolean',
  max_payload: 'number',
  tls_required: 'boolean',
  tls_available: 'boolean',
  jetstream: 'boolean',
  auth_required: 'boolean',
  nonce: 'string',
} as const;

function startTls(socket: Socket, host: string, options: TlsOptions): TLSSocket {
  try {
    return connectTls({ ...options, socket, ...serverName(host) });
  } catch (error) {
    // A certificate or key that OpenSSL cannot read.
    throw NatsError.errorForCode(ErrorCode.Tls, error as Error);
  }
}

/** Settles with the handshake. */
function secured(socket: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    const onEnd = (error?: unknown) => reject(error instanceof Error ? error : cutInHandshake());
    socket.once('error', onEnd);
    socket.once('close', onEnd);
    socket.once('secureConnect', () => {
      socket.off('error', onEnd);
      socket.off('close', onEnd);
      resolve();
    });
  });
}

/** Node's error for a connection that is reset instead of ended. */
function cutInHandshake(): NodeJS.ErrnoException {
  const text = 'the server disconnected before secure TLS connection was established';
  return Object.assign(new Error(text), { code: 'ECONNRESET' });
}

function interference(what: string): OnboardingError {
  return new OnboardingError(
    'NATS_TLS',
    `the NATS server sent ${what}, before TLS, possibly a man in the middle; it is discarded`,
    { reason: 'not-tls' },
  );
}
