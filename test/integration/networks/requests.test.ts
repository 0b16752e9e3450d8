/** One request to a provisioning server, in the test's own process. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { type ProvisioningServer, postProvision } from '../../../src/adapters/provisioningApi.ts';

const ends: (() => unknown)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

async function portOf(server: Server): Promise<number> {
  ends.push(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

const folder = () => {
  const path = mkdtempSync(join(tmpdir(), 'onboardd-requests-'));
  ends.push(() => rmSync(path, { recursive: true }));
  return path;
};

const post = (url: string, more: Partial<ProvisioningServer> = {}) =>
  postProvision(
    {
      ...{ url, path: '/provision', ca: null, tokenFile: null, clientCertFile: null, clientKeyFile: null },
      ...{ proxyFor: () => null, userAgent: 'test' },
      ...more,
    },
    '{}',
    AbortSignal.timeout(10_000),
  );

test('a server that sends its answer too slowly is out of time, not cut', async () => {
  const port = await portOf(createServer((_, response) => response.write('{')));
  const server = { path: '/', ca: null, tokenFile: null, clientCertFile: null, clientKeyFile: null };
  const all = { ...server, url: `http://127.0.0.1:${port}`, proxyFor: () => null, userAgent: 'test' };
  await expect(postProvision(all, '{}', AbortSignal.timeout(300))).rejects.toMatchObject({
    code: 'PROVISIONING_TIMEOUT',
    reason: 'timeout',
  });
});

test('each attempt has a connection of its own: one that is kept may be dead, and says nothing', async () => {
  const connections = new Set<unknown>();
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on('warning', onWarning);
  ends.push(() => process.off('warning', onWarning));
  const wishes = new Set<unknown>();
  const server = createServer((request, response) => {
    wishes.add(request.headers.connection);
    request.resume();
    response.writeHead(503).end('busy');
  });
  const ended: Promise<unknown>[] = [];
  server.on('connection', (socket) => {
    connections.add(socket);
    ended.push(once(socket, 'close'));
  });
  const url = `http://localhost:${await portOf(server)}`;
  for (let attempt = 0; attempt < 12; attempt += 1) expect((await post(url)).status).toBe(503);
  expect(connections.size).toBe(12);
  // The device ends each of them, and the server need not.
  await Promise.all(ended);
  expect([...wishes]).toEqual(['keep-alive']);
  expect(warnings).toEqual([]);
});

test('a server that changes the protocol is not waited for', async () => {
  const switching = createTcpServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () =>
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n'),
    );
  });
  const url = `http://127.0.0.1:${await portOf(switching)}`;
  await expect(post(url)).rejects.toMatchObject({
    ...{ code: 'PROVISIONING_ANSWER_INVALID', reason: 'not-http' },
    message: expect.stringContaining('HTTP 101'),
  });
});

/** Says what it was shown, as some error pages do. */
const repeating: RequestListener = ({ headers }, response) => {
  const shown = [headers.authorization, headers['proxy-authorization']].filter((each) => each !== undefined);
  const plain = shown.map((each) => Buffer.from(each.replace('Basic ', ''), 'base64').toString());
  response.writeHead(403).end(`${shown.join()} is not known: ${plain.join()}`);
};

test('a server that repeats the token is quoted without it', async () => {
  const tokenFile = join(folder(), 'token');
  writeFileSync(tokenFile, 'hunter2-hunter2\n');
  const port = await portOf(createServer(repeating));
  const { body } = await post(`http://127.0.0.1:${port}`, { tokenFile });
  expect(body).toMatch(/^Bearer \*\*\* is not known/);
});

test('a server or proxy that repeats a login is quoted without it', async () => {
  const port = await portOf(createServer(repeating));
  const own = (await post(`http://user:hunter2%21@127.0.0.1:${port}`)).body;
  expect(own).toBe('Basic *** is not known: user:***');
  const proxy = new URL(`http://user:hunter2%21@127.0.0.1:${port}`);
  const { body } = await post('http://fleet.example', { proxyFor: () => proxy });
  expect(body).toBe(own);
});

test('a percent sign in a login that begins no escape stands for itself', async () => {
  const logins: string[] = [];
  const port = await portOf(
    createServer(({ headers }, response) => {
      for (const header of [headers.authorization, headers['proxy-authorization']])
        if (header !== undefined) logins.push(Buffer.from(header.slice(6), 'base64').toString());
      response.end('{}');
    }),
  );
  const address = `http://user:100%zz@127.0.0.1:${port}`;
  await post(address);
  await post('http://fleet.example', { proxyFor: () => new URL(address) });
  expect(logins).toEqual(['user:100%zz', 'user:100%zz']);
});

test('a host name with a dot at its end is sent to TLS without it, as servers in Go demand', async () => {
  const place = folder();
  const [key, ca] = [join(place, 'key'), join(place, 'ca')];
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'],
      ...['-subj', '/CN=fleet', '-addext', 'subjectAltName=DNS:fleet.example', '-keyout', key, '-out', ca],
    ],
    { stdio: 'pipe' },
  );
  const names: unknown[] = [];
  const credentials = { key: readFileSync(key), cert: readFileSync(ca) };
  const server = createSecureServer(credentials, ({ socket }, response) => {
    names.push((socket as TLSSocket & { servername?: unknown }).servername);
    response.end('{}');
  });
  const port = await portOf(server);
  const proxy = createServer();
  proxy.on('connect', async (_, near) => {
    const { connect } = await import('node:net');
    const far = connect(port, '127.0.0.1', () => near.write('HTTP/1.1 200 OK\r\n\r\n'));
    far.pipe(near).pipe(far);
  });
  const through = new URL(`http://127.0.0.1:${await portOf(proxy)}`);
  const { status } = await post('https://fleet.example.', {
    ca: readFileSync(ca, 'utf8'),
    proxyFor: () => through,
  });
  expect([status, names]).toEqual([200, ['fleet.example']]);
});
