import { lookup } from 'node:dns/promises';
import http from 'node:http';
import https from 'node:https';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { classifyNetworkError, type NetworkProblem } from '../errors/networkProblem.ts';

/** Looks that change nothing on the other side: names, a GET, a greeting, a certificate. All are bounded in time. */

/** The addresses of a name. */
export async function lookUp(host: string, timeoutMs: number): Promise<string[] | NetworkProblem> {
  try {
    const found = await within(timeoutMs, lookup(host, { all: true }), 'EAI_AGAIN');
    return [...new Set(found.map(({ address }) => address))];
  } catch (error) {
    return classifyNetworkError(error, host);
  }
}

export interface HttpProbe {
  readonly status: number;
  readonly contentType: string | null;
  readonly location: string | null;
  /** The server's `Date`, milliseconds since 1970 */
  readonly serverTime: number | null;
  /** When our clock was read for it */
  readonly at: number;
}

/**
 * Sends a GET, follows nothing, reads no body.
 *
 * @param ca PEM that alone is trusted; null: the system's roots
 */
export async function probeHttp(
  url: URL,
  ca: string | null,
  headers: Readonly<Record<string, string>>,
  timeoutMs: number,
): Promise<HttpProbe | NetworkProblem> {
  const secure = url.protocol === 'https:';
  const signal = AbortSignal.timeout(timeoutMs);
  const trust = secure
    ? { rejectUnauthorized: true, ...(ca === null ? {} : { ca, allowPartialTrustChain: true }) }
    : {};
  try {
    return await new Promise((resolve, reject) => {
      const request = (secure ? https : http).request(
        url,
        { method: 'GET', agent: false, signal, headers, ...trust },
        (response) => {
          const { headers, statusCode = 0 } = response;
          const date = Date.parse(headers.date ?? '');
          resolve({
            status: statusCode,
            contentType: headers['content-type'] ?? null,
            location: headers.location ?? null,
            serverTime: Number.isNaN(date) ? null : date,
            at: Date.now(),
          });
          response.destroy();
        },
      );
      request.on('error', reject);
      request.end();
    });
  } catch (error) {
    return classifyNetworkError(error, url.host);
  }
}

/** What a NATS server says of itself before anybody has said anything. */
export interface ServerInfo {
  readonly version: string | null;
  readonly tlsRequired: boolean;
  readonly tlsAvailable: boolean;
  readonly jetstream: boolean;
}

const longestGreeting = 64 * 1024;

/** Connects, reads the INFO line, and hangs up. */
export async function probeNats(
  host: string,
  port: number,
  timeoutMs: number,
): Promise<ServerInfo | NetworkProblem> {
  const where = `${host}:${port}`;
  const socket = connectTcp({ host, port });
  try {
    const line = await within(timeoutMs, firstLine(socket), 'ETIMEDOUT');
    const [, json] = /^INFO (\{.*)$/.exec(line) ?? [];
    if (json === undefined) return { problem: 'not-nats', detail: `${where}: no NATS server answers there` };
    const info = JSON.parse(json) as Record<string, unknown>;
    return {
      version: typeof info.version === 'string' ? info.version.slice(0, 40) : null,
      tlsRequired: info.tls_required === true,
      tlsAvailable: info.tls_required === true || info.tls_available === true,
      jetstream: info.jetstream === true,
    };
  } catch (error) {
    if (error instanceof SyntaxError)
      return { problem: 'not-nats', detail: `${where}: its greeting is no JSON` };
    return classifyNetworkError(error, where);
  } finally {
    socket.destroy();
  }
}

/** The certificate that a server shows, in words: whose it is, whose CA, what dates, which hosts; null where none came. */
export async function peerCertificate(
  host: string,
  port: number,
  protocol: 'https' | 'nats',
  timeoutMs: number,
): Promise<string | null> {
  const socket = connectTcp({ host, port });
  let secured: TLSSocket | null = null;
  try {
    const ready: Promise<unknown> = protocol === 'nats' ? firstLine(socket) : connected(socket);
    await within(timeoutMs, ready, 'ETIMEDOUT');
    // Nothing is sent over it but the handshake, so the certificate need not be trusted to be read.
    const tls = connectTls({
      socket,
      rejectUnauthorized: false,
      ...(isIP(host) === 0 ? { servername: host } : {}),
    });
    secured = tls;
    await within(timeoutMs, connected(tls, 'secureConnect'), 'ETIMEDOUT');
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
    socket.destroy();
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
    socket.once('close', () => reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' })));
  });
}

function within<T>(ms: number, promise: Promise<T>, code: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(Object.assign(new Error('too late'), { code })), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
