import type { ErrorCode } from './catalogue.ts';
import { describe, excerpt, OnboardingError } from './onboardingError.ts';
import { codeOf, type Reason, reasons, type Server } from './reasons.ts';

/** The classification of an error of a socket, the resolver, TLS, the HTTP parser or the NATS client. */
export interface NetworkProblem {
  /** `INTERNAL` for an error of another origin */
  readonly code: ErrorCode;
  /** Null with `INTERNAL` */
  readonly reason: Reason | null;
  /** What was observed and what the error says of itself, to follow the server's name */
  readonly detail: string;
}

/** What is known of the connection besides the error. */
export interface ConnectionFacts {
  /** The TLS handshake reached the point at which the server's certificate is verified */
  readonly serverVerified?: boolean;
}

const tlsCause = {
  UNABLE_TO_GET_ISSUER_CERT: 'tls-untrusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'tls-untrusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'tls-untrusted',
  UNABLE_TO_DECRYPT_CERT_SIGNATURE: 'tls-untrusted',
  UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY: 'tls-untrusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'tls-untrusted',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'tls-untrusted',
  CERT_SIGNATURE_FAILURE: 'tls-untrusted',
  CERT_CHAIN_TOO_LONG: 'tls-untrusted',
  CERT_UNTRUSTED: 'tls-untrusted',
  CERT_REJECTED: 'tls-untrusted',
  CERT_REVOKED: 'tls-untrusted',
  PATH_LENGTH_EXCEEDED: 'tls-untrusted',
  INVALID_CA: 'tls-untrusted',
  ERR_SSL_CERTIFICATE_VERIFY_FAILED: 'tls-untrusted',
  CERT_HAS_EXPIRED: 'tls-expired',
  CERT_NOT_YET_VALID: 'tls-not-yet-valid',
  HOSTNAME_MISMATCH: 'tls-wrong-host',
  ERR_TLS_CERT_ALTNAME_INVALID: 'tls-wrong-host',
  ERR_TLS_CERT_ALTNAME_FORMAT: 'tls-wrong-host',
  INVALID_PURPOSE: 'tls-wrong-purpose',
  ERR_SSL_WRONG_VERSION_NUMBER: 'not-tls',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'not-tls',
  ERR_SSL_HTTP_REQUEST: 'not-tls',
  ERR_SSL_HTTPS_PROXY_REQUEST: 'not-tls',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'timeout',
  // OpenSSL's verification error for which Node has no name, such as a key that is too short.
  UNSPECIFIED: 'tls-failed',
} as const satisfies Record<string, Reason>;

/** Codes of libuv, the resolver, Node's TLS and its HTTP client. */
const byCode: Readonly<Record<string, Reason>> = {
  ENOTFOUND: 'dns',
  EAI_NONAME: 'dns',
  EAI_NODATA: 'dns',
  EAI_AGAIN: 'dns-timeout',
  EAI_FAIL: 'dns-timeout',
  ENETUNREACH: 'no-route',
  EHOSTUNREACH: 'no-route',
  EHOSTDOWN: 'no-route',
  ENETDOWN: 'no-route',
  ENONET: 'no-route',
  EADDRNOTAVAIL: 'no-route',
  EAFNOSUPPORT: 'no-route',
  EACCES: 'blocked',
  EPERM: 'blocked',
  EMFILE: 'out-of-resources',
  ENFILE: 'out-of-resources',
  ENOBUFS: 'out-of-resources',
  ENOMEM: 'out-of-resources',
  ECONNREFUSED: 'refused',
  ETIMEDOUT: 'timeout',
  ERR_SOCKET_CONNECTION_TIMEOUT: 'timeout',
  ABORT_ERR: 'timeout',
  ECONNRESET: 'reset',
  ECONNABORTED: 'reset',
  EPIPE: 'reset',
  ENOTCONN: 'reset',
  ERR_STREAM_PREMATURE_CLOSE: 'reset',
  ...tlsCause,
};

/** Codes of the NATS client (nats-base-client/core, `ErrorCode`). Many wrap another error, which is more precise. */
const byNatsCode: Readonly<Record<string, Reason>> = {
  AUTHORIZATION_VIOLATION: 'not-authorized',
  AUTHENTICATION_EXPIRED: 'not-authorized',
  AUTHENTICATION_TIMEOUT: 'not-authorized',
  ACCOUNT_EXPIRED: 'not-authorized',
  BAD_AUTHENTICATION: 'not-authorized',
  PERMISSIONS_VIOLATION: 'permission-denied',
  TIMEOUT: 'timeout',
  CONNECTION_TIMEOUT: 'timeout',
  CONNECTION_REFUSED: 'reset',
  CONNECTION_CLOSED: 'reset',
  CONNECTION_DRAINING: 'reset',
  DISCONNECT: 'reset',
  BAD_JSON: 'not-nats',
  BAD_PAYLOAD: 'not-nats',
  NATS_PROTOCOL_ERR: 'nats-error',
  MAX_PAYLOAD_EXCEEDED: 'nats-error',
  UNKNOWN_ERROR: 'nats-error',
  TLS: 'tls-failed',
};

const tlsCode =
  /^(ERR_TLS_|ERR_SSL_|ERR_OSSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CRL_|ERROR_IN_CERT_|EPROTO$)/;
/** OpenSSL's codes and messages for a TLS alert about a client certificate. */
const certificateAlert = /alert[ _](?:[a-z0-9]+[ _])*?(?:certificate|unknown[ _]ca)/i;

/**
 * The only reader of error codes of sockets, the resolver, TLS, the HTTP parser and the NATS client.
 *
 * @param server the server that failed, which decides the code
 */
export function classifyNetworkError(
  error: unknown,
  server: Server,
  facts: ConnectionFacts = {},
): NetworkProblem {
  const seen = reasonOf(error, server);
  // A server often refuses a client certificate with a plain reset, after its own certificate was verified.
  const reason =
    seen === 'reset' && facts.serverVerified && codeOf('client-certificate-refused', server) !== null
      ? 'client-certificate-refused'
      : seen;
  const code = reason === null ? null : codeOf(reason, server);
  if (reason === null || code === null)
    return { code: 'INTERNAL', reason: null, detail: describe(innermost(error)) };
  const words =
    reason === seen
      ? reasons[reason].cause
      : 'connection closed in the TLS handshake; the server probably refuses the device certificate';
  const said = readableText(error);
  return { code, reason, detail: said === null ? words : `${words} (${said})` };
}

/**
 * What an error says of itself, for a message; null if that adds nothing. For errors of OpenSSL and of the HTTP parser
 * only their code: their texts are internal to those libraries.
 */
function readableText(error: unknown): string | null {
  if (isDeadline(error)) return null;
  const inner = innermost(error);
  const code = inner instanceof Error ? textCode(inner) : null;
  if (code === null) return describe(inner);
  if (code.startsWith('ERR_TLS_CERT_ALTNAME')) return namesOf(inner) ?? excerpt(code, longestCode);
  if (code === 'EPROTO' || code === 'UNSPECIFIED') return null;
  return Object.hasOwn(tlsCause, code) || tlsCode.test(code) || code.startsWith('HPE_')
    ? excerpt(code, longestCode)
    : describe(inner);
}

const longestCode = 60;
const longestNames = 200;

/** What the certificate of another host is for; null if it does not say. */
function namesOf(error: unknown): string | null {
  const { cert } = (error ?? {}) as { cert?: { subjectaltname?: unknown } };
  const names = cert?.subjectaltname;
  return typeof names === 'string' && names !== '' ? `it is for ${excerpt(names, longestNames)}` : null;
}

/**
 * Wraps an error once, at the boundary: with code, reason, the server's address, and the error as `cause`.
 *
 * @param where the server, as shown in the message
 */
export function networkFailure(
  error: unknown,
  server: Server,
  where: string,
  facts: ConnectionFacts = {},
): OnboardingError {
  if (error instanceof OnboardingError) return error;
  const { code, reason, detail } = classifyNetworkError(error, server, facts);
  return new OnboardingError(code, `${where}: ${detail}`, { cause: error, reason });
}

/** The failure of a connection that ends at a proxy: one that is refused says nothing of the server behind it. */
export function proxyFailure(error: unknown, server: Server, where: string): OnboardingError {
  const failure = networkFailure(error, server, where);
  if (failure.reason !== 'refused') return failure;
  const { code, message, cause } = failure;
  return new OnboardingError(code, message, { cause, reason: 'proxy-unreachable' });
}

/** The failure for an observation without an error, such as a malformed answer or a server without TLS. */
export function observedFailure(
  reason: Reason,
  server: Server,
  where: string,
  detail: string = reasons[reason].cause,
): OnboardingError {
  return new OnboardingError(codeOf(reason, server) ?? 'INTERNAL', `${where}: ${detail}`, { reason });
}

function reasonOf(error: unknown, server: Server): Reason | null {
  if (!(error instanceof Error)) return null;
  if (error instanceof AggregateError) return reasonOfAll(error, server);
  const { message, name } = error;
  const code = textCode(error);
  if (name === 'NatsError') return reasonOfNatsError(error, code, server);
  if (isDeadline(error)) return 'timeout';
  if (code === null) return server === 'nats' && isPlain(error) ? 'not-nats' : null;
  if (certificateAlert.test(code) || (code === 'EPROTO' && certificateAlert.test(message)))
    return 'client-certificate-refused';
  if (Object.hasOwn(byCode, code)) return byCode[code] ?? null;
  if (isMisuse(error)) return null;
  if (code.startsWith('HPE_')) return 'not-http';
  if (code.startsWith('ERR_OSSL_')) return 'credentials-unusable';
  if (code === 'EPROTO' && /wrong version number|packet length too long/.test(message)) return 'not-tls';
  if (tlsCode.test(code)) return 'tls-failed';
  return 'syscall' in error ? 'connection-failed' : null;
}

/** Several addresses of one name: the connection that got furthest decides. */
function reasonOfAll({ errors }: AggregateError, server: Server): Reason | null {
  const found = errors.map((error) => reasonOf(error, server));
  const vague: readonly (Reason | null)[] = [null, 'no-route', 'connection-failed', 'timeout'];
  const rank = (reason: Reason | null) => {
    const place = vague.indexOf(reason);
    return place < 0 ? vague.length : place;
  };
  return found.reduce((best, reason) => (rank(reason) > rank(best) ? reason : best), null);
}

/** Some errors of the client only wrap an error below; that one decides then. */
function reasonOfNatsError(error: Error, code: string | null, server: Server): Reason | null {
  const { chainedError } = error as { chainedError?: unknown };
  const chained = chainedError === undefined ? null : reasonOf(chainedError, server);
  // One code for every option that the server's INFO lacks; the text is the name of the option.
  if (code === 'SERVER_OPT_NA') return error.message === 'tls' ? 'no-tls' : 'no-headers';
  const own = code !== null && Object.hasOwn(byNatsCode, code) ? (byNatsCode[code] ?? null) : null;
  if (own === 'tls-failed') return chained !== null && isTls(chained) ? chained : own;
  return own === 'reset' ? (chained ?? own) : own;
}

function isTls(reason: Reason): boolean {
  return codeOf(reason, 'nats') === 'NATS_TLS';
}

/** Whether a certificate was not signed by the key of the CA that it was held against. */
export function isSignatureFailure(error: unknown): boolean {
  const inner = innermost(error instanceof OnboardingError ? error.cause : error);
  return inner instanceof Error && textCode(inner) === 'CERT_SIGNATURE_FAILURE';
}

/** A chained error is more precise than the error around it. */
function innermost(error: unknown): unknown {
  const { chainedError } = (error ?? {}) as { chainedError?: unknown };
  return chainedError === undefined ? error : innermost(chainedError);
}

function textCode(error: Error): string | null {
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' ? code : null;
}

/** Our own deadline. The code of a DOMException is a number. */
function isDeadline(error: unknown): boolean {
  const { name } = (error ?? {}) as { name?: unknown };
  return name === 'AbortError' || name === 'TimeoutError';
}

/** The NATS client's parser throws errors without a code at bytes that are not of the protocol. */
function isPlain(error: Error): boolean {
  return Object.getPrototypeOf(error) === Error.prototype;
}

/** An error of Node's argument checks is a bug of the caller. */
function isMisuse(error: Error): boolean {
  return error instanceof TypeError || error instanceof RangeError;
}

/**
 * Whether the NATS server itself said that it does not let this device in, by an error of its own or by a TLS alert about
 * the certificate. A connection that was cut after the handshake often is that, too, and as often is not; nor does a
 * server that ran out of patience say anything about the device.
 */
export function isRefusal({ reason, cause }: OnboardingError): boolean {
  if (reason === 'not-authorized') return textCodeOf(cause) !== 'AUTHENTICATION_TIMEOUT';
  return (
    reason === 'client-certificate-refused' && (cause === undefined || reasonOf(cause, 'nats') === reason)
  );
}

function textCodeOf(error: unknown): string | null {
  return error instanceof Error ? textCode(error) : null;
}
