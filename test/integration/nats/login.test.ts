import { afterEach, expect, test } from 'vitest';
import { createAuthority } from '../../../fleet/ca.ts';
import { type Child, startChild } from '../../../fleet/childProcess.ts';
import { natsServer } from '../../../scripts/nats-server.mjs';
import { natsClient } from '../../../src/adapters/nats/client.ts';

let server: Child | undefined;
afterEach(async () => {
  server?.signal('SIGKILL');
  await server?.ended;
});

/** A server without TLS. @returns its port */
async function serverWith(...login: string[]): Promise<string> {
  server = await startChild(await natsServer(), ['-a', '127.0.0.1', '-p', '-1', ...login]);
  await server.lines.first((line) => line.includes('Server is ready'), 20_000);
  const line = server.lines.entries.find((entry) => entry.includes('Listening for client connections'));
  return /:(\d+)$/.exec(line ?? '')?.[1] ?? '';
}

async function open(natsUrl: string) {
  const { chain, key } = await (await createAuthority()).issueClient({ commonName: 'd1' });
  const connect = natsClient({
    ...{ tls: 'optional', proxy: null, resultStream: null, random: () => 0, needsInbox: false },
  });
  const identity = { deviceId: 'd1', key, certificate: chain, caCertificate: chain, natsUrl };
  return await connect(identity, new AbortController().signal);
}

test.each([
  ['a token', ['--auth', 'hunter2'], 'hunter2', 'hunter3'],
  ['a user', ['--user', 'device', '--pass', 'hunter2'], 'device:hunter2', 'device:hunter3'],
])('%s in the address opens the server, and a wrong one is never told', async (_, login, right, wrong) => {
  const port = await serverWith(...login);
  await (await open(`nats://${right}@127.0.0.1:${port}`)).close();
  const failure = await open(`nats://${wrong}@127.0.0.1:${port}`).catch((error: Error) => error);
  expect(failure).toMatchObject({ code: 'NATS_DENIED', reason: 'not-authorized' });
  expect(`${(failure as Error).message}${JSON.stringify(failure)}`).not.toContain('hunter');
});
