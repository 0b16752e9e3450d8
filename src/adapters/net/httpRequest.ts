import { readFileSync } from 'node:fs';
import http from 'node:http';
import type https from 'node:https';
import type { ConnectionOptions as TlsOptions } from 'node:tls';
import { bareHost, loginOf, showProxy } from '../../config/proxy.ts';
import { networkFailure, observedFailure, proxyFailure } from '../../errors/networkProblem.ts';
import { describe, OnboardingError } from '../../errors/onboardingError.ts';
import { tlsKey } from '../keys/keyReference.ts';
import {
  type Attempts,
  addressAttemptMs,
  lookUpSilentLast,
  noAttempts,
  noteAttempts,
  triedWords,
  unlessUnresolved,
} from './attempts.ts';
import { serverName } from './serverName.ts';
import { systemAuthorities } from './systemAuthorities.ts';
import { basic, openTunnel, proxyAuthorization } from './tunnel.ts';

/** How the provisioning server is reached. */
export interface Way {
  /** The only CAs that are trusted for `https:`, PEM; null: the system's CA store */
  readonly ca: string | null;
  /** Shown to an `https:` server, PEM files, read again for each request; null: none */
  readonly clientCertFile: string | null;
  readonly clientKeyFile: string | null;
  /** Null: without one */
  readonly proxyFor: (url: URL) => URL | null;
  /** Called when a request is on its way: there is nothing to do until the answer. */
  readonly onSent?: () => void;
}

export interface HttpRequest {
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  /** In place of the way's own: PEM, and for the key also a reference to one in a token */
  readonly client?: { readonly cert: string; readonly key: string };
}

/** For this request only: a connection that Node keeps for the next one may be dead by then. */
const ownConnection = { agent: false } as const;
/** The device closes it, once it has the whole answer: what a server sent before its end gets lost in some relays. */
const plainConnection = { ...ownConnection, headers: { connection: 'keep-alive' } } as const;

/**
 * Sends one request: redirects are not followed, nothing is tried again.
 *
 * @returns the response, its body not read yet
 * @throws {OnboardingError} PROVISIONING_UNREACHABLE, PROVISIONING_TIMEOUT, PROVISIONING_TLS with a reason, and
 *   PROVISIONING_ANSWER_INVALID if the answer is not HTTP
 */
export async function sendRequest(
  url: URL,
  request: HttpRequest,
  way: Way,
  signal: AbortSignal,
): Promise<http.IncomingMessage> {
  const attempts = noAttempts();
  const proxy = way.proxyFor(url);
  try {
    const isSecure = url.protocol === 'https:';
    const options = isSecure
      ? await secureOptions(url, request, way, signal)
      : proxy === null
        ? plainConnection
        : throughProxy(url, proxy);
    // Most provisioning servers speak plain HTTP.
    const { request: send } = isSecure ? await import('node:https') : http;
    return await new Promise((resolve, reject) => {
      const { method, headers, body } = request;
      const dialling = { autoSelectFamilyAttemptTimeout: addressAttemptMs, lookup: lookUpSilentLast };
      const common = { method, signal, ...dialling, ...options };
      const login = loginOf(url);
      const basicLogin = login === null ? {} : { authorization: basic(login) };
      const added = 'headers' in options ? options.headers : {};
      const all = { ...common, headers: { ...basicLogin, ...headers, ...added } };
      const sent = send(withoutLogin(url), all as https.RequestOptions, resolve);
      sent.on('socket', (socket) => noteAttempts(socket, bareHost(proxy ?? url), attempts));
      sent.on('error', reject);
      // Without a listener Node only closes the connection, and says nothing.
      sent.on('upgrade', ({ statusCode }, socket) => {
        socket.destroy();
        const words = `it changes the protocol, which nobody asked for (HTTP ${statusCode})`;
        reject(observedFailure('not-http', 'provisioning', `the provisioning server ${url.host}`, words));
      });
      if (way.onSent) sent.on('finish', way.onSent);
      sent.end(body ?? undefined);
    });
  } catch (error) {
    throw provisioningFailure(error, url, { attempts, proxy: url.protocol === 'http:' ? proxy : null });
  }
}

/** Node would decode the login, and throws at a `%` that begins no escape. */
function withoutLogin(url: URL): URL {
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  return bare;
}

/**
 * A text of the server for a message: an error page may repeat what the device showed to be let in.
 *
 * @param headers of the request
 */
export function withoutSecrets(
  text: string,
  url: URL,
  headers: HttpRequest['headers'],
  { proxyFor }: Pick<Way, 'proxyFor'>,
): string {
  const proxy = proxyFor(url);
  const logins = [loginOf(url), proxy === null ? null : loginOf(proxy)].filter((login) => login !== null);
  const shown = logins.flatMap((login) => [
    basic(login).slice('Basic '.length),
    login.replace(/^[^:]*:/, ''),
  ]);
  const token = headers.authorization?.replace(/^\S+ /, '') ?? '';
  return [...shown, token]
    .filter((secret) => secret !== '')
    .reduce((all, secret) => all.replaceAll(secret, '***'), text);
}

/** An absolute-form request to the proxy. */
function throughProxy(url: URL, proxy: URL): http.RequestOptions {
  return {
    ...ownConnection,
    host: bareHost(proxy),
    hostname: bareHost(proxy),
    port: proxy.port || 80,
    path: withoutLogin(url).href,
    headers: { host: url.host, ...proxyAuthorization(proxy) },
  };
}

async function secureOptions(
  url: URL,
  request: HttpRequest,
  way: Way,
  signal: AbortSignal,
): Promise<https.RequestOptions> {
  const target = { host: bareHost(url), port: Number(url.port || 443) };
  const identity = { ...serverName(target.host), ...clientCertificate(request, way) };
  const trust = { ...trusted(way.ca), ...identity, rejectUnauthorized: true };
  const proxy = way.proxyFor(url);
  if (proxy === null) return { ...ownConnection, ...trust };
  const socket = await openTunnel(proxy, target, 'provisioning', signal);
  const { connect: connectTls } = await import('node:tls');
  return { ...trust, createConnection: () => connectTls({ ...trust, host: target.host, socket }) };
}

/** What is trusted for `https:`. @param ca PEM; null: the system's CA store */
export function trusted(ca: string | null): TlsOptions {
  if (ca !== null) return { ca, allowPartialTrustChain: true };
  const system = systemAuthorities();
  return system === undefined ? {} : { ca: system };
}

/** @throws {OnboardingError} PROVISIONING_TLS where a file cannot be read */
function clientCertificate(request: HttpRequest, { clientCertFile, clientKeyFile }: Way): TlsOptions {
  if (request.client !== undefined) return { cert: request.client.cert, ...tlsKey(request.client.key) };
  if (clientCertFile === null || clientKeyFile === null) return {};
  try {
    return { cert: readFileSync(clientCertFile), key: readFileSync(clientKeyFile) };
  } catch (cause) {
    const text = `the claim certificate cannot be read: ${describe(cause)}`;
    throw new OnboardingError('PROVISIONING_TLS', text, { cause, reason: 'credentials-unusable' });
  }
}

/**
 * The failure of a connection to the provisioning server, for the daemon and for `check`.
 *
 * @param facts `attempts`: what was done to reach it; `proxy`: where the connection ends at one
 */
export function provisioningFailure(
  error: unknown,
  { host }: URL,
  { attempts = noAttempts(), proxy }: { readonly attempts?: Attempts; readonly proxy?: URL | null } = {},
): OnboardingError {
  const server = `the provisioning server ${host}`;
  const via = proxy ? `the proxy ${showProxy(proxy)} on the way to ${server}` : server;
  // A deadline names no address, and comes before the last one had failed.
  const where = `${via}${triedWords(error, attempts)}`;
  const failure = (proxy ? proxyFailure : networkFailure)(error, 'provisioning', where);
  return unlessUnresolved(failure, attempts, 'provisioning', via);
}
