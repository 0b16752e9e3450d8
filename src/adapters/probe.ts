import { lookup } from 'node:dns/promises';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { type NatsAddress, showNatsAddress } from '../config/natsAddress.ts';
import { networkFailure, observedFailure } from '../errors/networkProblem.ts';
import type { Server } from '../errors/reasons.ts';
import { addressAttemptMs } from './net/attempts.ts';
import { provisioningFailure, sendRequest, type Way } from './net/httpRequest.ts';
import { serverName } from './net/serverName.ts';
import { openTunnel } from './net/tunnel.ts';

/** Probes that change nothing on a server: name look-up, GET, INFO of NATS, certificate. All have time limits. */

/**
 * The addresses of a name.
 *
 * @param server the server with this name, for the code
 * @throws {OnboardingError} with a reason: `dns`, `dns-timeout`
 */
export async function lookUp(host: string, server: Server, timeoutMs: number): Promise<string[]> {
  try {
    const silence = Object.assign(new Error(`no answer within ${timeoutMs / 1000} s`), { code: 'EAI_AGAIN' });
    const found = await within(timeoutMs, lookup(host, { all: true }), silence);
    return [...new Set(found.map(({ address }) => address))];
  } catch (error) {
    throw networkFailure(error, server, host);
  }
}

export interface HttpProbe {
  readonly status: number;
  readonly contentType: string | null;
  readonly location: string | null;
  /** The server's `Date`, milliseconds since 1970 */
  readonly serverTime: number | null;
  /** Our clock at that moment, milliseconds since 1970 */
  readonly at: number;
}

/**
 * Sends a GET; follows no redirect and reads no body.
 *
 * @throws {OnboardingError} as `postProvision`
 */
export async function probeHttp(
  url: URL,
  way: Way,
  headers: Readonly<Record<string, string>>,
  timeoutMs: number,
): Promise<HttpProbe> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await sendRequest(url, { method: 'GET', headers, body: null }, way, signal);
    response.on('error', () => undefined);
    response.destroy();
    const { headers: answered, statusCode = 0 } = response;
    const date = Date.parse(answered.date ?? '');
    return {
      status: statusCode,
      contentType: answered['content-type'] ?? null,
      location: answered.location ?? null,
      serverTime: Number.isNaN(date) ? null : date,
      at: Date.now(),
    };
  } catch (error) {
    throw provisioningFailure(error, url);
  }
}

/** The INFO that a NATS server sends first. */
export interface ServerInfo {
  readonly version: string | null;
  readonly tlsRequired: boolean;
  readonly tlsAvailable: boolean;
  readonly jetstream: boolean;
}

const longestGreeting = 64 * 1024;

/**
 * Connects, reads the INFO line and disconnects.
 *
 * @param proxy through which the server is reached; null: directly
 * @throws {OnboardingError} NATS_UNREACHABLE with a reason
 */
export async function probeNats(
  address: NatsAddress,
  proxy: URL | null,
  timeoutMs: number,
): Promise<ServerInfo> {
  const where = `the NATS server ${showNatsAddress(address)}`;
  const socket = await reach(address, proxy, 'nats', timeoutMs);
  try {
    const line = await within(timeoutMs, firstLine(socket));
    const info = readInfo(line);
    if (info === null) throw observedFailure('not-nats', 'nats', where);
    return {
      version: typeof info.version === 'string' ? info.version.slice(0, 40) : null,
      tlsRequired: info.tls_required === true,
      tlsAvailable: info.tls_required === true || info.tls_available === true,
      jetstream: info.jetstream === true,
    };
  } catch (error) {
    throw networkFailure(error, 'nats', where);
  } finally {
    socket.destroy();
  }
}

/** @returns null for a line that is not the INFO of a NATS server */
function readInfo(line: string): Record<string, unknown> | null {
  const [, json] = /^INFO (\{.*)$/.exec(line) ?? [];
  try {
    return JSON.parse(json ?? '') as Record<string, unknown>;
  } catch {
    return null;
  }
}

/** Begins a connection; one through a proxy is open already. */
async function reach(
  { host, port }: { readonly host: string; readonly port: number },
  proxy: URL | null,
  server: Server,
  timeoutMs: number,
): Promise<Socket> {
  return proxy === null
    ? connectTcp({ host, port, autoSelectFamilyAttemptTimeout: addressAttemptMs })
    : await openTunnel(proxy, { host, port }, server, AbortSignal.timeout(timeoutMs));
}

/** The certificate of a server as text: subject, issuer, dates and hosts; null if it sends none. */
export async function peerCertificate(
  { host, port }: { readonly host: string; readonly port: number },
  server: Server,
  proxy: URL | null,
  timeoutMs: number,
): Promise<string | null> {
  let socket: Socket | null = null;
  let secured: TLSSocket | null = null;
  try {
    socket = await reach({ host, port }, proxy, server, timeoutMs);
    if (server === 'nats') await within(timeoutMs, firstLine(socket));
    else if (proxy === null) await within(timeoutMs, connected(socket));
    // Only the handshake is sent over it, so the certificate need not be trusted.
    const tls = connectTls({
      socket,
      rejectUnauthorized: false,
      ...serverName(host),
    });
    secured = tls;
    await within(timeoutMs, connected(tls, 'secureConnect'));
    const certificate = tls.getPeerX509Certificate();
    if (certificate === undefined) return null;
    const one = (text: string) => text.replaceAll('\n', ', ');
    const date = (text: string) => new Date(text).toISOString().slice(0, 16).replace('T', ' ');
    return (
      `its certificate: ${one(certificate.subject)}, issued by ${one(certificate.issuer)}, ` +
      `valid ${date(certificate.validFrom)} to ${date(certificate.validTo)}, ` +
      `for ${certificate.subjectAltName ?? 'no host'}`
    ).slice(0, 600);
  } catch {
    return null;
  } finally {
    secured?.destroy();
    socket?.destroy();
  }
}

function connected(socket: Socket, event = 'connect'): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, () => resolve());
    socket.once('error', reject);
  });
}

function firstLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const onData = (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\r\n');
      if (end < 0 && text.length < longestGreeting) return;
      socket.off('data', onData);
      socket.pause();
      resolve(end < 0 ? '' : text.slice(0, end));
    };
    socket.on('data', onData);
    socket.once('error', reject);
    socket.once('close', () =>
      reject(Object.assign(new Error('it ended the connection'), { code: 'ECONNRESET' })),
    );
  });
}

function within<T>(
  ms: number,
  promise: Promise<T>,
  late: Error = new DOMException('too late', 'TimeoutError'),
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late), ms);
  });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}
