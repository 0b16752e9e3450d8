import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { connectNats } from '../../../src/adapters/nats/transport.ts';
import { noAttempts } from '../../../src/adapters/net/attempts.ts';

/** One attempt to reach a server through a proxy on loopback; it is given up soon. */
function attemptThrough(port: number) {
  return connectNats({
    tls: null,
    proxy: new URL(`http://127.0.0.1:${port}`),
    onBroken: () => undefined,
    onGivenUp: () => undefined,
    signal: new AbortController().signal,
    attempts: noAttempts(),
    servers: ['127.0.0.1:4222'],
    timeout: 300,
    reconnect: false,
  });
}

test('a proxy that never answers keeps no connection of an attempt that was given up', async () => {
  const proxy = createTcpServer();
  const accepted = once(proxy, 'connection') as Promise<[Socket]>;
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  try {
    const attempt = attemptThrough((proxy.address() as AddressInfo).port);
    const [silent] = await accepted;
    silent.on('error', () => undefined);
    silent.resume();
    const ended = once(silent, 'close');
    await expect(attempt).rejects.toMatchObject({ code: 'TIMEOUT' });
    await ended;
  } finally {
    (await accepted)[0].destroy();
    proxy.close();
  }
});

test('a tunnel that a proxy opens after the attempt was given up is closed', async () => {
  const proxy = createServer();
  let open = () => {};
  const asked = new Promise<Socket>((resolve) => {
    proxy.on('connect', (_, socket: Socket) => {
      socket.on('error', () => undefined);
      open = () => socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      resolve(socket);
    });
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  try {
    const attempt = attemptThrough((proxy.address() as AddressInfo).port);
    const tunnel = await asked;
    await expect(attempt).rejects.toThrow();
    const ended = once(tunnel, 'end');
    tunnel.resume();
    open();
    await ended;
  } finally {
    (await asked).destroy();
    proxy.close();
  }
});
