import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { createAuthority } from '../../../fleet/ca.ts';
import { type NatsServer, startNats } from '../../../fleet/nats.ts';
import { natsClient } from '../../../src/adapters/nats/client.ts';
import { isRefusal } from '../../../src/errors/networkProblem.ts';
import type { OnboardingError } from '../../../src/errors/onboardingError.ts';
import type { Identity } from '../../../src/services/onboarding/register.ts';
import type { Session, SessionEvent } from '../../../src/services/onboarding/session.ts';
import { opensslCa } from '../../fleet/opensslCa.ts';
import { startRelay } from '../../fleet/relay.ts';
import { temporaryFolder } from '../../support/program.ts';

let server: NatsServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

const results = 'device_results.d1.register';
const request = 'device_actions.d1.register';

/** A server that lets the device do what the rights say (by default what devices may), and the device's identity. */
async function serverWith(rights?: Parameters<typeof startNats>[0]['rights'], host = '127.0.0.1') {
  const authority = await createAuthority();
  const commonName = 'd1';
  const place = { dir: temporaryFolder(), host, hosts: [host] };
  server = await startNats({ authority, ...place, ...(rights ? { rights } : {}) });
  await server.authorise('d1', commonName);
  const { chain, key } = await authority.issueClient({ commonName });
  const identity: Identity = {
    ...{ deviceId: 'd1', key, certificate: chain, caCertificate: authority.pem, natsUrl: server.url },
  };
  const connections = async () => {
    const answer = await fetch(`${server?.monitoringUrl}/connz`);
    return ((await answer.json()) as { num_connections: number }).num_connections;
  };
  return { identity, connections, server };
}

function open(identity: Identity): Promise<Session> {
  const connect = natsClient({
    ...{ tls: 'required', proxy: null, resultStream: null, random: () => 0, needsInbox: false },
  });
  return connect(identity, new AbortController().signal);
}

/** Reads until there is an event of the type. */
async function readUntil(session: Session, type: SessionEvent['type']): Promise<SessionEvent[]> {
  const all: SessionEvent[] = [];
  for await (const event of session.events) {
    all.push(event);
    if (event.type === type) break;
  }
  return all;
}

test('an IPv6 address may name its interface, as one of a single link has to', async () => {
  const { identity, server } = await serverWith(undefined, '::1');
  const natsUrl = `tls://[::1%lo]:${new URL(server.url).port}`;
  const session = await open({ ...identity, natsUrl });
  expect(session.isEncrypted).toBe(true);
  await session.close();
});

test('a request that reaches nobody brings the server’s word for it, and a look-up without a stream says so', async () => {
  const { identity } = await serverWith();
  const session = await open(identity);
  session.publishRequest(request, '{}', { ID: 'd1' });
  session.requestLastStored(results);
  const [reply, stored] = await readUntil(session, 'stored');
  expect(reply).toMatchObject({ type: 'reply', message: { status: 503, storedAt: null } });
  expect(stored).toEqual({ type: 'stored', last: 'unavailable' });
  await session.close();
});

test('what arrives before the request is handed to the connection is told from what arrives after it', async () => {
  // A device that may hear itself.
  const { identity } = await serverWith(() => 'all');
  const session = await open(identity);
  const other = await open(identity);
  session.subscribe('device_actions.d1.>');
  // Comes back behind the subscription: the server knows it then.
  session.requestLastStored(results);
  const iterator = session.events[Symbol.asyncIterator]();
  expect((await iterator.next()).value).toEqual({ type: 'stored', last: 'unavailable' });
  other.publishRequest(request, 'before', {});
  expect((await iterator.next()).value).toMatchObject({
    ...{ type: 'live', message: { text: 'before' }, afterPublish: false },
  });
  session.publishRequest(request, 'after', { ID: 'd1', timestamp: 't' });
  expect((await iterator.next()).value).toMatchObject({
    ...{ type: 'live', message: { text: 'after', id: 'd1', timestamp: 't' }, afterPublish: true },
  });
  await Promise.all([session.close(), other.close()]);
});

test('a denied subscription and a denied publish are told by their subjects', async () => {
  const { identity } = await serverWith(() => ({
    publish: { allow: ['nothing'] },
    subscribe: { allow: ['_INBOX.>'] },
  }));
  const session = await open(identity);
  session.subscribe(results);
  session.publishRequest(request, '{}', {});
  const events: SessionEvent[] = [];
  for await (const event of session.events) if (events.push(event) === 2) break;
  expect(events).toEqual([
    { type: 'denied', operation: 'subscription', subject: results },
    { type: 'denied', operation: 'publish', subject: request },
  ]);
  await session.close();
});

test('a reader that throws ends neither the process nor the connection, which is closed by its owner', async () => {
  const { identity, connections } = await serverWith(() => 'all');
  const session = await open(identity);
  const reading = (async () => {
    for await (const event of session.events) throw new Error(`cannot bear ${event.type}`);
  })();
  session.subscribe(request);
  session.publishRequest(request, 'one', {});
  await expect(reading).rejects.toThrow('cannot bear live');
  session.publishRequest(request, 'two', {});
  expect(await connections()).toBe(1);
  await session.close();
  await expect.poll(connections).toBe(0);
});

test('a session that is closed ends its events, and leaves no connection', async () => {
  const { identity, connections } = await serverWith();
  const session = await open(identity);
  const reading = readUntil(session, 'closed');
  session.subscribe(results);
  await session.close();
  expect(await reading).toEqual([]);
  expect(() => session.requestLastStored(results)).not.toThrow();
  expect(() => session.subscribe(results)).toThrow(expect.objectContaining({ code: 'NATS_UNREACHABLE' }));
  await expect.poll(connections).toBe(0);
});

test('a connection that the server ends is told, and nothing behind it', async () => {
  const { identity, server } = await serverWith();
  const session = await open(identity);
  const reading = readUntil(session, 'live');
  await server.kill();
  expect(await reading).toMatchObject([
    { type: 'closed', error: { code: 'NATS_UNREACHABLE', reason: 'reset' } },
  ]);
});

test('a half-open link ends with its pings, as a timeout', async () => {
  const { identity, server } = await serverWith();
  const relay = await startRelay({ to: server });
  try {
    const session = await open({ ...identity, natsUrl: `tls://${relay.host}:${relay.port}` });
    const reading = readUntil(session, 'closed');
    relay.freeze();
    expect(await reading).toMatchObject([
      { type: 'closed', error: { code: 'NATS_UNREACHABLE', reason: 'timeout' } },
    ]);
  } finally {
    await relay.stop();
  }
});

test('an alert about the certificate from a server that has not proved itself is shown, and is no refusal', async () => {
  const { identity } = await serverWith();
  const alert = Buffer.from([0x15, 3, 3, 0, 2, 2, 42]);
  const stranger = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.write(
      'INFO {"server_id":"x","version":"2.9.10","proto":1,"headers":true,"tls_required":true,"max_payload":1048576}\r\n',
    );
    socket.once('data', () => socket.end(alert));
  });
  await once(stranger.listen(0, '127.0.0.1'), 'listening');
  try {
    const natsUrl = `127.0.0.1:${(stranger.address() as AddressInfo).port}`;
    const failure = (await open({ ...identity, natsUrl }).catch(
      (error: unknown) => error,
    )) as OnboardingError;
    expect(failure).toMatchObject({ code: 'NATS_TLS', reason: 'client-certificate-refused' });
    expect(isRefusal(failure)).toBe(false);
  } finally {
    stranger.close();
  }
});

test('a server that knows the root alone gets the whole chain, in whichever fields of the answer it stood', async () => {
  const authority = await createAuthority();
  const dir = temporaryFolder();
  server = await startNats({ authority, dir });
  const other = await createAuthority({ commonName: 'CA of the server' });
  await server.restart({ serverCertificate: await other.issueServer({ hosts: ['127.0.0.1'] }) });
  await server.authorise('d1', 'd1');
  const ca = opensslCa(dir);
  const root = { pem: authority.pem, file: join(dir, 'root.pem'), keyFile: join(dir, 'root.key') };
  writeFileSync(root.file, root.pem);
  writeFileSync(root.keyFile, authority.key);
  for (const name of ['upper', 'lower', 'leaf']) ca.key(name, 'P-256');
  const isCa = ['basicConstraints=critical,CA:TRUE'];
  const upper = ca.issue({ subject: '/CN=upper', key: 'upper', issuer: root, extensions: isCa });
  const lower = ca.issue({ subject: '/CN=lower', key: 'lower', issuer: upper, extensions: isCa });
  const leaf = ca.issue({ subject: '/CN=d1', key: 'leaf', issuer: lower });
  const device = { deviceId: 'd1', key: ca.keyPem('leaf'), natsUrl: server.url };
  for (const [certificate, caCertificate] of [
    [[leaf, lower, upper], [root]],
    [[leaf], [lower, upper, root]],
    [[leaf], [root, upper, lower]],
    [
      [leaf, lower],
      [root, upper],
    ],
    [[leaf, lower], [upper]],
    [
      [leaf, lower, upper, root],
      [lower, upper, root],
    ],
  ] as const) {
    const pems = (all: readonly { pem: string }[]) => all.map(({ pem }) => pem).join('');
    const chain = { certificate: pems(certificate), caCertificate: pems([...caCertificate, other]) };
    const session = await open({ ...device, ...chain });
    expect(session.isEncrypted).toBe(true);
    await session.close();
  }
});

test('a new CA of the old one’s name is believed beside it, in either order and without key identifiers', async () => {
  const authority = await createAuthority();
  const dir = temporaryFolder();
  const ca = opensslCa(dir);
  for (const name of ['old', 'new', 'host']) ca.key(name, 'P-256');
  const makeRoot = (key: string) =>
    ca.issue({ subject: '/CN=Fleet CA', key, extensions: ['basicConstraints=critical,CA:TRUE'] });
  const [older, newer] = [makeRoot('old'), makeRoot('new')];
  const extensions = ['subjectAltName=IP:127.0.0.1', 'authorityKeyIdentifier=none'];
  const { pem } = ca.issue({ subject: '/CN=nats', key: 'host', issuer: newer, extensions });
  server = await startNats({ authority, dir });
  await server.restart({ serverCertificate: { certificate: pem, chain: pem, key: ca.keyPem('host') } });
  await server.authorise('d1', 'd1');
  const { chain: certificate, key } = await authority.issueClient({ commonName: 'd1' });
  const device = { deviceId: 'd1', key, certificate, natsUrl: server.url };
  for (const caCertificate of [older.pem + newer.pem, newer.pem + older.pem]) {
    const session = await open({ ...device, caCertificate });
    await session.close();
  }
  await expect(open({ ...device, caCertificate: older.pem + makeRoot('old').pem })).rejects.toMatchObject({
    ...{ code: 'NATS_TLS', reason: 'tls-untrusted' },
  });
});
