import dns from 'node:dns';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { createAuthority } from '../../../fleet/ca.ts';
import { natsClient } from '../../../src/adapters/nats/client.ts';
import { postProvision } from '../../../src/adapters/provisioningApi.ts';
import { startSlowListener } from '../../fleet/slowListener.ts';
import { closedPort } from '../../support/observabilityHarness.ts';
import { serverAt } from '../../support/provisioningServer.ts';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const end of ends.splice(0).reverse()) await end();
});

/** The name `device.test` then has these addresses, in this order. */
function resolveTo(...addresses: string[]): void {
  const found = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
  const real = dns.lookup as (...args: unknown[]) => void;
  vi.spyOn(dns, 'lookup').mockImplementation(((...args: unknown[]) => {
    if (args[0] !== 'device.test') return real(...args);
    setImmediate(args.at(-1) as (error: null, all: unknown) => void, null, found);
  }) as never);
}

const ask = (port: number, ms = 20_000) =>
  postProvision(serverAt(`http://device.test:${port}`), '{}', AbortSignal.timeout(ms));

/** Reserved for documentation: nobody has a route to it. */
const withoutRoute = '2001:db8::1';

async function answering(host = '127.0.0.1', port = 0): Promise<{ host: string; port: number }> {
  const server = createServer((_, response) => response.setHeader('connection', 'close').end('{}')).listen(
    port,
    host,
  );
  await once(server, 'listening');
  ends.push(() => server.close());
  return { host, port: (server.address() as AddressInfo).port };
}

test('a name with an IPv6 address that has no route answers over a link whose handshake takes a second', async () => {
  const slow = await startSlowListener(await answering());
  ends.push(() => slow.stop());
  resolveTo('127.0.0.1', withoutRoute);
  const answer = ask(slow.port);
  setTimeout(() => slow.resume(), 600);
  expect(await answer).toMatchObject({ status: 200, body: '{}' });
});

test('a failure names every address that was tried', async () => {
  resolveTo('127.0.0.1', withoutRoute, '127.0.0.2');
  const failure = await ask(await closedPort()).catch((error: Error) => error);
  expect(failure).toMatchObject({ code: 'PROVISIONING_UNREACHABLE', reason: 'refused' });
  for (const address of ['127.0.0.1', withoutRoute, '127.0.0.2'])
    expect((failure as Error).message).toContain(address);
});

test('a deadline names the addresses that were tried by then', async () => {
  const slow = await startSlowListener(await answering());
  ends.push(() => slow.stop());
  resolveTo('127.0.0.1', withoutRoute);
  await expect(ask(slow.port, 400)).rejects.toMatchObject({
    code: 'PROVISIONING_TIMEOUT',
    message: expect.stringContaining(`device.test:${slow.port} (tried 127.0.0.1): no answer in time`),
  });
});

test('an address that was silent for as long as it may be comes last from then on', async () => {
  const slow = await startSlowListener(await answering());
  ends.push(() => slow.stop());
  await answering('127.0.0.2', slow.port);
  resolveTo('127.0.0.1', '127.0.0.2');
  await expect(ask(slow.port, 1_000)).rejects.toMatchObject({ code: 'PROVISIONING_TIMEOUT' });
  expect(await ask(slow.port)).toMatchObject({ status: 200 });
  expect(await ask(slow.port, 1_000)).toMatchObject({ status: 200 });
});

/** The name `device.test` gets no answer from the resolver. */
function resolveNever(): void {
  vi.spyOn(dns, 'lookup').mockImplementation((() => undefined) as never);
}

test('a deadline that comes before the name server answers is the fault of the name server', async () => {
  resolveNever();
  await expect(ask(9, 300)).rejects.toMatchObject({
    ...{ code: 'PROVISIONING_UNREACHABLE', reason: 'dns-timeout' },
    message: expect.stringMatching(
      /^the provisioning server device\.test:9: no usable answer from a DNS server/,
    ),
  });
});

async function openNats(port: number): Promise<unknown> {
  const authority = await createAuthority();
  const { chain: certificate, key } = await authority.issueClient({ commonName: 'd1' });
  const natsUrl = `tls://device.test:${port}`;
  const identity = { deviceId: 'd1', key, certificate, caCertificate: authority.pem, natsUrl };
  const connect = natsClient({
    ...{ tls: 'required', proxy: null, resultStream: null, random: () => 0, needsInbox: false },
  });
  return await connect(identity, new AbortController().signal);
}

test('a NATS server that does not answer in time is named with the addresses that were tried', async () => {
  const slow = await startSlowListener(await answering());
  ends.push(() => slow.stop());
  resolveTo('127.0.0.1', '127.0.0.3');
  await expect(openNats(slow.port)).rejects.toMatchObject({
    ...{ code: 'NATS_UNREACHABLE', reason: 'timeout' },
    message: expect.stringMatching(/device\.test:\d+ \(tried .*127\.0\.0\.1.*\): no answer in time/),
  });
});

test('a NATS server whose name is not resolved in time is not called silent', async () => {
  resolveNever();
  await expect(openNats(9)).rejects.toMatchObject({
    ...{ code: 'NATS_UNREACHABLE', reason: 'dns-timeout' },
    message: expect.stringMatching(/^the NATS server device\.test:9: no usable answer from a DNS server/),
  });
});
