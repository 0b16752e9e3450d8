import { once } from 'node:events';
import { createServer as createHttp, get as getHttp } from 'node:http';
import { get as getHttps } from 'node:https';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { connect as connectTls, createServer as createTls, type TlsOptions } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Authority, createAuthority } from '../../../fleet/ca.ts';
import { postProvision } from '../../../src/adapters/provisioningApi.ts';
import type { ErrorCode as Code } from '../../../src/errors/catalogue.ts';
import { classifyNetworkError, networkFailure } from '../../../src/errors/networkProblem.ts';
import { describe, OnboardingError } from '../../../src/errors/onboardingError.ts';
import type { Reason } from '../../../src/errors/reasons.ts';
import { closedPort } from '../../support/observabilityHarness.ts';
import { serverAt } from '../../support/provisioningServer.ts';

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
    `the NATS server both.example: connection refused (${each})`,
  );
});

test('an error is wrapped once, with its cause', async () => {
  const port = await closedPort();
  const url = `http://127.0.0.1:${port}`;
  const server = serverAt(url);
  const failure = await postProvision(server, '{}', AbortSignal.timeout(5_000)).catch((error) => error);
  expect(failure).toBeInstanceOf(OnboardingError);
  expect(failure).toMatchObject({ code: 'PROVISIONING_UNREACHABLE', reason: 'refused' });
  expect(failure.cause).toMatchObject({ code: 'ECONNREFUSED' });
  expect(failure.message).toMatch(/^the provisioning server 127\.0\.0\.1:\d+: connection refused \(/);
  expect(networkFailure(failure, 'nats', 'elsewhere')).toBe(failure);
});
