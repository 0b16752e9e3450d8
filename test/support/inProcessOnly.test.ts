import { execFileSync, fork, spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns';
import { createServer, get, request } from 'node:http';
import { connect, createServer as createTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { expect, test } from 'vitest';
import './inProcessOnly.ts';

test.each<[string, () => unknown]>([
  ['spawn', () => spawn('true')],
  ['spawnSync', () => spawnSync('true')],
  ['execFileSync', () => execFileSync('true')],
  ['fork', () => fork('none.mjs')],
  ['connect of net', () => connect(1, '127.0.0.1')],
  ['connect of tls', () => connectTls({ port: 1, host: '127.0.0.1' })],
  ['listen of net', () => createTcp().listen(0)],
  ['listen of http', () => createServer().listen(0)],
  ['request', () => request('http://127.0.0.1:1')],
  ['get', () => get('http://127.0.0.1:1')],
  ['bind of a datagram socket', () => createSocket('udp4').bind(0)],
  ['lookup', () => lookup('localhost', () => {})],
])('a unit test that calls %s fails', (_, call) => {
  expect(call).toThrow('belong to test/integration');
});

test('a unit test that fetches fails', async () => {
  await expect(fetch('http://127.0.0.1:48765')).rejects.toMatchObject({
    cause: { message: expect.stringContaining('belong to test/integration') },
  });
});
