import { ErrorCode, NatsError } from 'nats';
import { expect, test } from 'vitest';
import type { ErrorCode as Code } from '../../../src/errors/catalogue.ts';
import {
  classifyNetworkError,
  isRefusal,
  networkFailure,
  proxyFailure,
} from '../../../src/errors/networkProblem.ts';
import { describe } from '../../../src/errors/onboardingError.ts';
import { type Reason, reasons } from '../../../src/errors/reasons.ts';

function system(code: string, message = `connect ${code} 192.0.2.1:80`, more = {}): Error {
  return Object.assign(new Error(message), { code, syscall: 'connect', ...more });
}
function coded(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
const aggregate = (...errors: Error[]) => Object.assign(new AggregateError(errors), { code: 'E' });
const chained = (code: ErrorCode, error: Error) => NatsError.errorForCode(code, error);
const resolver = (code: string) =>
  system(code, `getaddrinfo ${code} fleet.example`, { syscall: 'getaddrinfo' });
const alert = (words: string) =>
  `139:error:0A000412:SSL routines:ssl3_read_bytes:${words}:../deps/openssl/ssl/record/rec_layer_s3.c:1590:SSL alert number 42\n`;

const unreachable = ['PROVISIONING_UNREACHABLE', 'NATS_UNREACHABLE'] as const;
const timeout = ['PROVISIONING_TIMEOUT', 'NATS_UNREACHABLE'] as const;
const tlsCodes = ['PROVISIONING_TLS', 'NATS_TLS'] as const;
const bug = ['INTERNAL', 'INTERNAL', null] as const;
/** What Node throws; test/integration/errors meets what real sockets can bring about. */
const made: readonly (readonly [string, unknown, Code, Code, Reason | null])[] = [
  ['a name that does not exist', resolver('ENOTFOUND'), ...unreachable, 'dns'],
  ['a name without an address', resolver('EAI_NODATA'), ...unreachable, 'dns'],
  ['a resolver that is silent', resolver('EAI_AGAIN'), ...unreachable, 'dns-timeout'],
  ['a resolver that fails', resolver('EAI_FAIL'), ...unreachable, 'dns-timeout'],
  ['no route to the network', system('ENETUNREACH'), ...unreachable, 'no-route'],
  ['no route to the host', system('EHOSTUNREACH'), ...unreachable, 'no-route'],
  ['a link that is down', system('ENETDOWN'), ...unreachable, 'no-route'],
  ['no address of ours', system('EADDRNOTAVAIL'), ...unreachable, 'no-route'],
  ['a device without IPv6', system('EAFNOSUPPORT'), ...unreachable, 'no-route'],
  ['a firewall of the device', system('EPERM'), ...unreachable, 'blocked'],
  ['a sandbox of the device', system('EACCES'), ...unreachable, 'blocked'],
  ['no file descriptors left', system('EMFILE'), ...unreachable, 'out-of-resources'],
  ['no memory for sockets left', system('ENOBUFS'), ...unreachable, 'out-of-resources'],
  ['packets that are dropped', system('ETIMEDOUT'), ...timeout, 'timeout'],
  ['a broken pipe', system('EPIPE', 'write EPIPE'), ...unreachable, 'reset'],
  ['a connection that is aborted', system('ECONNABORTED'), ...unreachable, 'reset'],
  ['a body that ends early', coded('ECONNRESET', 'aborted'), ...unreachable, 'reset'],
  ['a system error that nobody foresaw', system('EPROTONOSUPPORT'), ...unreachable, 'connection-failed'],
  [
    'one address without a route, one that refuses',
    aggregate(system('ENETUNREACH'), system('ECONNREFUSED')),
    ...unreachable,
    'refused',
  ],
  [
    'one address that drops, one without a route',
    aggregate(system('ETIMEDOUT'), system('ENETUNREACH')),
    ...timeout,
    'timeout',
  ],
  [
    'no route to any address',
    aggregate(system('ENETUNREACH'), system('ENETUNREACH')),
    ...unreachable,
    'no-route',
  ],
  [
    'OpenSSL’s word for another host',
    coded('HOSTNAME_MISMATCH', 'hostname mismatch'),
    ...tlsCodes,
    'tls-wrong-host',
  ],
  ['a self-signed server', coded('DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed'), ...tlsCodes, 'tls-untrusted'],
  [
    'an issuer that is not there',
    coded('UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'x'),
    ...tlsCodes,
    'tls-untrusted',
  ],
  ['an issuer that is not trusted', coded('SELF_SIGNED_CERT_IN_CHAIN', 'x'), ...tlsCodes, 'tls-untrusted'],
  ['a server that has expired', coded('CERT_HAS_EXPIRED', 'x'), ...tlsCodes, 'tls-expired'],
  ['a server that is not valid yet', coded('CERT_NOT_YET_VALID', 'x'), ...tlsCodes, 'tls-not-yet-valid'],
  ['a client in place of a server', coded('INVALID_PURPOSE', 'x'), ...tlsCodes, 'tls-wrong-purpose'],
  ['another host', coded('ERR_TLS_CERT_ALTNAME_INVALID', 'x'), ...tlsCodes, 'tls-wrong-host'],
  ['a port where nobody listens', system('ECONNREFUSED'), ...unreachable, 'refused'],
  ['a connection that is reset', system('ECONNRESET', 'read ECONNRESET'), ...unreachable, 'reset'],
  ['clear text in place of TLS', coded('ERR_SSL_WRONG_VERSION_NUMBER', 'x'), ...tlsCodes, 'not-tls'],
  ['a CA that is none', coded('INVALID_CA', 'invalid CA certificate'), ...tlsCodes, 'tls-untrusted'],
  ['a key that is too short', coded('UNSPECIFIED', 'EE certificate key too weak'), ...tlsCodes, 'tls-failed'],
  [
    'an alternative name that is malformed',
    Object.assign(new SyntaxError('Invalid subject alternative name string'), {
      code: 'ERR_TLS_CERT_ALTNAME_FORMAT',
    }),
    ...tlsCodes,
    'tls-wrong-host',
  ],
  ['a TLS error without a reason of its own', coded('ERR_SSL_BAD_ECPOINT', 'x'), ...tlsCodes, 'tls-failed'],
  [
    'an alert about the device’s certificate',
    coded('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'x'),
    ...tlsCodes,
    'client-certificate-refused',
  ],
  [
    'an alert about the device’s CA',
    coded('ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'x'),
    ...tlsCodes,
    'client-certificate-refused',
  ],
  [
    'an alert about the device’s certificate, as OpenSSL 3.2 names it',
    coded('ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE', 'x'),
    ...tlsCodes,
    'client-certificate-refused',
  ],
  [
    'such an alert while writing',
    system('EPROTO', `write EPROTO ${alert('sslv3 alert certificate expired')}`),
    ...tlsCodes,
    'client-certificate-refused',
  ],
  [
    'an alert about something else',
    system('EPROTO', `write EPROTO ${alert('sslv3 alert handshake failure')}`),
    ...tlsCodes,
    'tls-failed',
  ],
  [
    'clear text in place of TLS while writing',
    system('EPROTO', 'write EPROTO 139:error:0A00010B:SSL routines:ssl3_get_record:wrong version number'),
    ...tlsCodes,
    'not-tls',
  ],
  ['a bug', new TypeError('x is not a function'), ...bug],
  ['a wrong argument', Object.assign(new TypeError('x'), { code: 'ERR_INVALID_ARG_TYPE' }), ...bug],
  ['an assertion', coded('ERR_ASSERTION', 'x'), ...bug],
  ['something thrown that is no error', 'rubbish', ...bug],
  ['nothing', undefined, ...bug],
];

test.each(made)('%s (%#)', (_, error, provisioning, nats, reason) => {
  expect(classifyNetworkError(error, 'provisioning')).toMatchObject({ code: provisioning, reason });
  expect(classifyNetworkError(error, 'nats')).toMatchObject({ code: nats, reason });
});

const own = (code: ErrorCode) => NatsError.errorForCode(code);
/** The NATS client's own errors, made by the client. */
const nats: readonly (readonly [string, Error, Code, Reason | null])[] = [
  ['a user who is not known', own(ErrorCode.AuthorizationViolation), 'NATS_DENIED', 'not-authorized'],
  ['a login that took too long', own(ErrorCode.AuthenticationTimeout), 'NATS_DENIED', 'not-authorized'],
  ['an account that has expired', own(ErrorCode.AccountExpired), 'NATS_DENIED', 'not-authorized'],
  ['a subject that is denied', own(ErrorCode.PermissionsViolation), 'NATS_DENIED', 'permission-denied'],
  ['a greeting that does not come', own(ErrorCode.Timeout), 'NATS_UNREACHABLE', 'timeout'],
  ['a connection that is closed', own(ErrorCode.ConnectionClosed), 'NATS_UNREACHABLE', 'reset'],
  ['a connection that breaks', own(ErrorCode.Disconnect), 'NATS_UNREACHABLE', 'reset'],
  [
    'a connection that is refused below',
    chained(ErrorCode.ConnectionRefused, system('ECONNREFUSED')),
    'NATS_UNREACHABLE',
    'refused',
  ],
  [
    'a certificate that has expired below',
    chained(ErrorCode.Tls, coded('CERT_HAS_EXPIRED', 'certificate has expired')),
    'NATS_TLS',
    'tls-expired',
  ],
  [
    'a key that OpenSSL cannot read',
    chained(ErrorCode.Tls, coded('ERR_OSSL_PEM_NO_START_LINE', 'x')),
    'NATS_TLS',
    'credentials-unusable',
  ],
  ['TLS that fails below', chained(ErrorCode.Tls, new Error('x')), 'NATS_TLS', 'tls-failed'],
  [
    'a server without TLS',
    new NatsError('tls', ErrorCode.ServerOptionNotAvailable),
    'NATS_NOT_SECURE',
    'no-tls',
  ],
  [
    'a server without headers',
    new NatsError('headers', ErrorCode.ServerOptionNotAvailable),
    'NATS_UNREACHABLE',
    'no-headers',
  ],
  [
    'a server that is full',
    new NatsError("'maximum connections exceeded'", ErrorCode.ProtocolError),
    'NATS_UNREACHABLE',
    'nats-error',
  ],
  ['bytes that are not NATS', new Error('unexpected response from server'), 'NATS_UNREACHABLE', 'not-nats'],
  ['an INFO that is not JSON', own(ErrorCode.BadJson), 'NATS_UNREACHABLE', 'not-nats'],
  ['a subject of ours that is malformed', own(ErrorCode.BadSubject), 'INTERNAL', null],
];

test.each(nats)('NATS: %s', (_, error, code, reason) => {
  expect(classifyNetworkError(error, 'nats')).toMatchObject({ code, reason });
});

test('a handshake that is cut after the server was verified is a refusal of the device’s certificate', () => {
  for (const error of [system('ECONNRESET', 'read ECONNRESET'), own(ErrorCode.ConnectionClosed)]) {
    const seen = classifyNetworkError(error, 'nats', { serverVerified: true });
    expect(seen).toMatchObject({ code: 'NATS_TLS', reason: 'client-certificate-refused' });
    expect(seen.detail).toMatch(/connection closed in the TLS handshake/);
  }
});

test.each<[string, Error, boolean]>([
  ['an authorization violation', own(ErrorCode.AuthorizationViolation), true],
  ['an authentication that took too long', own(ErrorCode.AuthenticationTimeout), false],
  [
    'a TLS alert about the certificate',
    system('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'tlsv13 alert certificate required'),
    true,
  ],
  ['a cut handshake, although the server was verified', system('ECONNRESET', 'read ECONNRESET'), false],
  ['a closed connection', own(ErrorCode.ConnectionClosed), false],
  ['a refused connection', system('ECONNREFUSED', 'connect ECONNREFUSED'), false],
])('%s is a refusal: %s', (_, error, expected) => {
  expect(isRefusal(networkFailure(error, 'nats', 'x', { serverVerified: true }))).toBe(expected);
});

test('several addresses of one name are each named with their own error', () => {
  const each = ['127.0.0.1', '127.0.0.2'].map((ip) => `connect ECONNREFUSED ${ip}:80`);
  const error = Object.assign(
    new AggregateError(
      each.map((text) => system('ECONNREFUSED', text)),
      '',
    ),
    {
      code: 'ECONNREFUSED',
    },
  );
  expect(describe(error)).toBe(each.join('; '));
  expect(networkFailure(error, 'nats', 'the NATS server both.example').message).toBe(
    `the NATS server both.example: connection refused (${each.join('; ')})`,
  );
});

test('every reason of a connection is met by some row', () => {
  const met = new Set([...made.map((row) => row[4]), ...nats.map((row) => row[3])]);
  const seenInAnswers = /^(http-|redirected|captive-portal|token-unusable|not-http|proxy-|not-discovered)/;
  const ofNetwork = (reason: string) =>
    reasons[reason as Reason].codes.some((code) => /^(PROVISIONING|NATS)_/.test(code ?? ''));
  const rest = Object.keys(reasons).filter((reason) => ofNetwork(reason) && !seenInAnswers.test(reason));
  expect(rest.filter((reason) => !met.has(reason as Reason))).toEqual([]);
});

test('a certificate for another host is shown with its names, not with the text of a library', () => {
  const error = Object.assign(
    new Error("Hostname/IP does not match certificate's altnames: IP: 127.0.0.1 is not in the cert's list: "),
    { code: 'ERR_TLS_CERT_ALTNAME_INVALID', cert: { subjectaltname: 'DNS:example.org' } },
  );
  expect(networkFailure(error, 'provisioning', 'the server').message).toBe(
    'the server: the server certificate is for another host (it is for DNS:example.org)',
  );
  expect(networkFailure(coded('ERR_TLS_CERT_ALTNAME_INVALID', 'x'), 'nats', 'the server').message).toBe(
    'the server: the server certificate is for another host (ERR_TLS_CERT_ALTNAME_INVALID)',
  );
});

test('a proxy that refuses the connection is not the server behind it', () => {
  expect(proxyFailure(system('ECONNREFUSED'), 'nats', 'the proxy p:1')).toMatchObject({
    ...{ code: 'NATS_UNREACHABLE', reason: 'proxy-unreachable' },
    message: expect.stringMatching(/^the proxy p:1: connection refused \(/),
  });
  expect(proxyFailure(system('ENOTFOUND'), 'provisioning', 'the proxy p:1').reason).toBe('dns');
});
