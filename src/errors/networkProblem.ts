import type { ErrorCode } from './catalogue.ts';
import { describe, OnboardingError } from './onboardingError.ts';
import { codeOf, type Reason, reasons, type Server } from './reasons.ts';

/** What an error of a socket, the resolver, TLS, the HTTP parser or the NATS client means. */
export interface NetworkProblem {
  /** `INTERNAL` for an error that none of them makes */
  readonly code: ErrorCode;
  /** Null with `INTERNAL` */
  readonly reason: Reason | null;
  /** What was observed, in words, and what the error itself says; for behind the server's name */
  readonly detail: string;
}

/** What is known of the connection besides the error. */
export interface ConnectionFacts {
  /** The TLS handshake went so far that the server's certificate was verified */
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
  // What OpenSSL's verification says where Node has no name for it, such as a key that is too short.
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

/** Codes of the NATS client (nats-base-client/core, `ErrorCode`). Many wrap another error, which then says more. */
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
/** OpenSSL's words, in its codes or its messages, for what the other side says about a client certificate. */
const certificateAlert = /alert[ _](?:[a-z0-9]+[ _])*?(?:certificate|unknown[ _]ca)/i;

/**
 * The only reader of error codes of sockets, the resolver, TLS, the HTTP parser and the NATS client.
 *
 * @param server whose failure it is: it decides the code
 */
export function classifyNetworkError(
  error: unknown,
  server: Server,
  facts: ConnectionFacts = {},
): NetworkProblem {
  const seen = reasonOf(error, server);
  // The refusal of a client certificate often arrives as a mere reset, after the server's own was verified.
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
      : 'it cut the TLS handshake, as a server does that refuses the device’s certificate';
  return { code, reason, detail: isDeadline(error) ? words : `${words}: ${describe(innermost(error))}` };
}

/**
 * Wraps an error at the boundary, once: code, reason, the server's address, and the error itself as `cause`.
 *
 * @param where the server, as the message names it
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

/** The failure for what was observed without an error: an answer that is none, a server without TLS. */
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

/** Several addresses of one name: the one where the connection came furthest says most. */
function reasonOfAll({ errors }: AggregateError, server: Server): Reason | null {
  const found = errors.map((error) => reasonOf(error, server));
  const dull: readonly (Reason | null)[] = [null, 'no-route', 'connection-failed', 'timeout'];
  const rank = (reason: Reason | null) => {
    const place = dull.indexOf(reason);
    return place < 0 ? dull.length : place;
  };
  return found.reduce((best, reason) => (rank(reason) > rank(best) ? reason : best), null);
}

/** Of the client's own errors some are its word for whatever happened below; then that decides. */
function reasonOfNatsError(error: Error, code: string | null, server: Server): Reason | null {
  const { chainedError } = error as { chainedError?: unknown };
  const chained = chainedError === undefined ? null : reasonOf(chainedError, server);
  // One code for whatever the server's INFO lacks; the text is the name of the option.
  if (code === 'SERVER_OPT_NA') return error.message === 'tls' ? 'no-tls' : 'no-headers';
  const own = code !== null && Object.hasOwn(byNatsCode, code) ? (byNatsCode[code] ?? null) : null;
  if (own === 'tls-failed') return chained !== null && isTls(chained) ? chained : own;
  return own === 'reset' ? (chained ?? own) : own;
}

function isTls(reason: Reason): boolean {
  return codeOf(reason, 'nats') === 'NATS_TLS';
}

/** A chained error's words are more to the point than those around it. */
function innermost(error: unknown): unknown {
  const { chainedError } = (error ?? {}) as { chainedError?: unknown };
  return chainedError === undefined ? error : innermost(chainedError);
}

function textCode(error: Error): string | null {
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' ? code : null;
}

/** Our own deadline, whose words say nothing. A DOMException's code is a number. */
function isDeadline(error: unknown): boolean {
  const { name } = (error ?? {}) as { name?: unknown };
  return name === 'AbortError' || name === 'TimeoutError';
}

/** What the NATS client's parser throws at bytes that are not of the protocol has no code. */
function isPlain(error: Error): boolean {
  return Object.getPrototypeOf(error) === Error.prototype;
}

/** Node's checks of arguments are bugs of the caller. */
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
