import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { expect, test } from 'vitest';
import { connectNats } from '../../../src/adapters/nats/transport.ts';
import { noAttempts } from '../../../src/adapters/net/attempts.ts';

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
    const attempt = connectNats({
      tls: null,
      proxy: new URL(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}`),
      onBroken: () => undefined,
      onGivenUp: () => undefined,
      signal: new AbortController().signal,
      attempts: noAttempts(),
      servers: ['127.0.0.1:4222'],
      timeout: 300,
      reconnect: false,
    });
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
