import { once } from 'node:events';
import { createServer as createHttp, get as getHttp } from 'node:http';
import { get as getHttps } from 'node:https';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { connect as connectTls, createServer as createTls, type TlsOptions } from 'node:tls';
import { ErrorCode, NatsError } from 'nats';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { postProvision } from '../../src/adapters/provisioningApi.ts';
import { type ErrorCode as Code, catalogue } from '../../src/errors/catalogue.ts';
import { classifyNetworkError, networkFailure, observedFailure } from '../../src/errors/networkProblem.ts';
import { describe, OnboardingError } from '../../src/errors/onboardingError.ts';
import {
  codeOf,
  type Reason,
  type ReasonEntry,
  reasonOfStatus,
  reasons,
  remedyOf,
} from '../../src/errors/reasons.ts';
import { type Authority, createAuthority } from '../fleet/ca.ts';
import { closedPort } from '../seen/bench.ts';

const servers: Server[] = [];
let authority: Authority;
let other: Authority;

beforeAll(async () => {
  authority = await createAuthority({ commonName: 'trusted' });
  other = await createAuthority({ commonName: 'another' });
});
afterAll(() => {
  for (const server of servers) server.close();
});

async function listening(server: Server): Promise<number> {
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** The error that something with an event `error` ends with, whatever else it does before. */
function errorOf(emitter: { on(event: 'error', listener: (error: Error) => void): unknown }): Promise<Error> {
  return new Promise((resolve) => emitter.on('error', resolve));
}

const tcp = (port: number) => errorOf(connect({ host: '127.0.0.1', port }));
const http = (port: number) => errorOf(getHttp({ host: '127.0.0.1', port, agent: false }));
const https = (port: number) =>
  errorOf(
    getHttps({ host: '127.0.0.1', port, agent: false, ca: authority.pem }, (answer) => answer.resume()),
  );
const saying = (text: string) => listening(createServer((socket) => socket.end(text)));

/** A TLS server, and what a client that trusts `authority` meets there. */
async function tls(server: TlsOptions, client: Record<string, unknown> = {}): Promise<Error> {
  const listener = createTls(server, (socket) => socket.end());
  listener.on('tlsClientError', () => undefined);
  const port = await listening(listener);
  const socket = connectTls({ host: '127.0.0.1', port, ca: authority.pem, ...client });
  socket.on('secureConnect', () => socket.resume());
  return await errorOf(socket);
}

const issued = async (hosts = ['127.0.0.1'], dates = {}, by = authority) => {
  const { chain, key } = await by.issueServer({ hosts, ...dates });
  return { cert: chain, key };
};
const asking = async () => ({ ...(await issued()), ca: authority.pem, requestCert: true });
const hour = 3_600_000;
const from = (ms: number) => new Date(Date.now() + ms);

/** Made on real sockets: what Node throws, and not what we believe it throws. */
const real: Readonly<Record<string, [() => Promise<Error>, Code, Code, Reason]>> = {
  'a port where nobody listens': [
    async () => tcp(await closedPort()),
    'PROVISIONING_UNREACHABLE',
    'NATS_UNREACHABLE',
    'refused',
  ],
  'two addresses where nobody listens': [
    async () => severalAddresses(await closedPort()),
    'PROVISIONING_UNREACHABLE',
    'NATS_UNREACHABLE',
    'refused',
  ],
  'a server that ends the connection without an answer': [
    async () => http(await saying('')),
    'PROVISIONING_UNREACHABLE',
    'NATS_UNREACHABLE',
    'reset',
  ],
  'a server that resets the connection': [
    async () =>
      http(await listening(createServer((socket) => socket.once('data', () => socket.resetAndDestroy())))),
    'PROVISIONING_UNREACHABLE',
    'NATS_UNREACHABLE',
    'reset',
  ],
  'a deadline that passes': [
    async () => {
      const port = await listening(createServer((socket) => socket.on('error', () => undefined)));
      return errorOf(getHttp({ host: '127.0.0.1', port, agent: false, signal: AbortSignal.timeout(50) }));
    },
    'PROVISIONING_TIMEOUT',
    'NATS_UNREACHABLE',
    'timeout',
  ],
  'a certificate of another CA': [
    async () => tls(await issued(undefined, {}, other)),
    'PROVISIONING_TLS',
    'NATS_TLS',
    'tls-untrusted',
  ],
  'a CA that signed itself and is not trusted': [
    async () => {
      const { cert, key } = await issued(undefined, {}, other);
      return tls({ cert: cert + other.pem, key });
    },
    'PROVISIONING_TLS',
    'NATS_TLS',
    'tls-untrusted',
  ],
  'a certificate that has expired': [
    async () => tls(await issued(undefined, { notBefore: from(-2 * hour), notAfter: from(-hour) })),
    'PROVISIONING_TLS',
    'NATS_TLS',
    'tls-expired',
  ],
  'a certificate that is not valid yet': [
    async () => tls(await issued(undefined, { notBefore: from(hour), notAfter: from(2 * hour) })),
    'PROVISIONING_TLS',
    'NATS_TLS',
    'tls-not-yet-valid',
  ],
  'a certificate for another host': [
    async () => tls(await issued(['example.org'])),
    'PROVISIONING_TLS',
    'NATS_TLS',
    'tls-wrong-host',
  ],
  'a certificate of a client in place of a server’s': [
    async () => {
      const { chain, key } = await authority.issueClient({ commonName: '127.0.0.1' });
      return tls({ cert: chain, key });
    },
    'PROVISIONING_TLS',
    'NATS_TLS',
    'tls-wrong-purpose',
  ],
  'a server that asks for a client certificate': [
    async () => tls(await asking()),
    'PROVISIONING_TLS',
    'NATS_TLS',
    'client-certificate-refused',
  ],
  // The alert that OpenSSL sends then says no more than that the handshake failed.
  'a server that asks for a client certificate, over TLS 1.2': [
    async () => tls(await asking(), { maxVersion: 'TLSv1.2' }),
    'PROVISIONING_TLS',
    'NATS_TLS',
    'tls-failed',
  ],
  'a server of an older version of TLS': [
    async () => tls({ ...(await issued()), maxVersion: 'TLSv1.2' }, { minVersion: 'TLSv1.3' }),
    'PROVISIONING_TLS',
    'NATS_TLS',
    'tls-failed',
  ],
  'a server that resets the connection within the handshake': [
    async () =>
      https(await listening(createServer((socket) => socket.once('data', () => socket.resetAndDestroy())))),
    'PROVISIONING_UNREACHABLE',
    'NATS_UNREACHABLE',
    'reset',
  ],
  'HTTP in clear text in place of TLS': [
    async () => https(await listening(createHttp())),
    'PROVISIONING_TLS',
    'NATS_TLS',
    'not-tls',
  ],
  'a certificate of ours that is no certificate': [
    async () => {
      try {
        throw connectTls({ port: await closedPort(), cert: 'garbage', key: 'garbage' });
      } catch (error) {
        return error as Error;
      }
    },
    'PROVISIONING_TLS',
    'NATS_TLS',
    'credentials-unusable',
  ],
};

/** Both addresses of one name. */
function severalAddresses(port: number): Promise<Error> {
  const found = ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 }));
  const lookup = (_host: string, _options: unknown, done: (error: null, found: object[]) => void) =>
    done(null, found);
  return errorOf(connect({ host: 'both.example', port, autoSelectFamily: true, lookup: lookup as never }));
}

test.each(Object.entries(real))('%s', async (_, [make, provisioning, nats, reason]) => {
  const error = await make();
  expect(classifyNetworkError(error, 'provisioning')).toMatchObject({ code: provisioning, reason });
  expect(classifyNetworkError(error, 'nats')).toMatchObject({ code: nats, reason });
});

test('what is no HTTP, and a page of TLS to plain HTTP', async () => {
  const seen = [
    await http(await saying('SSH-2.0-other\r\n\r\n')),
    await http(await saying('\x15\x03\x01\x00')),
  ];
  for (const error of seen)
    expect(classifyNetworkError(error, 'provisioning')).toMatchObject({
      code: 'PROVISIONING_ANSWER_INVALID',
      reason: 'not-http',
    });
});

test('several addresses of one name are each named with their own error', async () => {
  const port = await closedPort();
  const error = await severalAddresses(port);
  expect(error).toMatchObject({ name: 'AggregateError', message: '' });
  const each = `connect ECONNREFUSED 127.0.0.1:${port}; connect ECONNREFUSED 127.0.0.2:${port}`;
  expect(describe(error)).toBe(each);
  expect(networkFailure(error, 'nats', 'the NATS server both.example').message).toBe(
    `the NATS server both.example: it refused the connection: ${each}`,
  );
});

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
/** What is laborious to bring about, or depends on the machine. */
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
    expect(seen.detail).toMatch(/it cut the TLS handshake/);
  }
});

test('the table is long enough to be one', () => {
  expect(Object.keys(real).length + made.length + nats.length).toBeGreaterThanOrEqual(40);
});

test('every reason of a connection is met by some row', () => {
  const met = new Set([
    ...Object.values(real).map(([, , , reason]) => reason),
    ...made.map((row) => row[4]),
    ...nats.map((row) => row[3]),
  ]);
  const seenInAnswers = /^(http-|redirected|captive-portal|token-unusable|not-http|provisioning-off|agent-)/;
  const rest = Object.keys(reasons).filter((reason) => !seenInAnswers.test(reason));
  expect(rest.filter((reason) => !met.has(reason as Reason))).toEqual([]);
});

test.each(
  Object.entries<ReasonEntry>(reasons),
)('%s advises something that fits the server', (name, entry) => {
  const { codes, cause } = entry;
  const [provisioning, natsCode] = codes;
  const code = provisioning ?? natsCode;
  expect(code).not.toBeNull();
  expect(cause).toMatch(/^\S.*[^.]$/);
  for (const [own, strange] of [
    [provisioning, /NATS|nats\./],
    [natsCode, /`provisioning\./],
  ] as const) {
    if (own === null) continue;
    const remedy = remedyOf(own, name as Reason);
    expect(remedy).toMatch(/^[A-Z].*\.$/);
    expect(remedy).not.toMatch(strange);
  }
});

test('reasons advise different things where they demand different things', () => {
  const advice = (reason: Reason) => remedyOf(codeOf(reason, 'provisioning') ?? 'INTERNAL', reason);
  const http = ['http-401', 'http-404', 'http-409', 'http-429', 'http-500', 'http-503'] as const;
  expect(new Set(http.map(advice)).size).toBe(http.length);
  expect(advice('http-403')).toBe(advice('http-401'));
  expect(remedyOf('NATS_TLS', 'tls-untrusted')).not.toBe(remedyOf('PROVISIONING_TLS', 'tls-untrusted'));
});

test('a failure without a reason, or with one of another code, is advised by its code', () => {
  expect(remedyOf('NATS_TLS', null)).toBe(catalogue.NATS_TLS.remedy);
  expect(remedyOf('STATE_CORRUPT', 'refused')).toBe(catalogue.STATE_CORRUPT.remedy);
});

test.each([
  [200, null],
  [204, null],
  [301, 'redirected'],
  [400, 'http-400'],
  [401, 'http-401'],
  [403, 'http-403'],
  [404, 'http-404'],
  [409, 'http-409'],
  [418, 'http-4xx'],
  [429, 'http-429'],
  [500, 'http-500'],
  [503, 'http-503'],
  [507, 'http-5xx'],
  [511, 'http-511'],
  [999, null],
])('HTTP %i is %s', (status, reason) => {
  expect(reasonOfStatus(status)).toBe(reason);
});

test('an error is wrapped once, with its cause', async () => {
  const port = await closedPort();
  const url = `http://127.0.0.1:${port}`;
  const server = { url, ca: null, tokenFile: null, userAgent: 'test' };
  const failure = await postProvision(server, '{}', AbortSignal.timeout(5_000)).catch((error) => error);
  expect(failure).toBeInstanceOf(OnboardingError);
  expect(failure).toMatchObject({ code: 'PROVISIONING_UNREACHABLE', reason: 'refused' });
  expect(failure.cause).toMatchObject({ code: 'ECONNREFUSED' });
  expect(failure.message).toMatch(/^the provisioning server 127\.0\.0\.1:\d+: it refused the connection: /);
  expect(networkFailure(failure, 'nats', 'elsewhere')).toBe(failure);
});

test('a token that cannot be read has a reason of its own', async () => {
  const server = { url: 'http://127.0.0.1:1', ca: null, tokenFile: '/nowhere/token', userAgent: 'test' };
  await expect(postProvision(server, '{}', AbortSignal.timeout(5_000))).rejects.toMatchObject({
    code: 'PROVISIONING_REJECTED',
    class: 'transient',
    reason: 'token-unusable',
  });
});

test('codes that have one reason only carry it, whoever throws them', () => {
  expect(new OnboardingError('PROVISIONING_TIMEOUT', 'x').reason).toBe('timeout');
  expect(new OnboardingError('NATS_NOT_SECURE', 'x').reason).toBe('no-tls');
  expect(new OnboardingError('NATS_UNREACHABLE', 'x').reason).toBeNull();
  expect(observedFailure('not-nats', 'nats', 'x')).toMatchObject({
    code: 'NATS_UNREACHABLE',
    reason: 'not-nats',
  });
});
