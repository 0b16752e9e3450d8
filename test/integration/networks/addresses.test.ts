import dns from 'node:dns';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
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

async function answering(): Promise<{ host: string; port: number }> {
  const server = createServer((_, response) => response.end('{}')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends.push(() => server.close());
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
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
