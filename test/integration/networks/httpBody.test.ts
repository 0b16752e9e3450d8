import { once } from 'node:events';
import { createServer, get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { afterEach, expect, test } from 'vitest';
import { readBody } from '../../../src/adapters/net/httpBody.ts';

const ends: (() => unknown)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

async function bodyOf(bytes: Uint8Array, encoding?: string): Promise<string> {
  const headers = encoding === undefined ? {} : { 'content-encoding': encoding };
  const server = createServer((_, response) => response.writeHead(200, headers).end(bytes));
  ends.push(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const request = get({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, agent: false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return await readBody(response);
}

const text = '{"caCertificate":"ä"}';

test.each<[string, Buffer]>([
  ['gzip', gzipSync(text)],
  ['x-gzip', gzipSync(text)],
  ['GZIP', gzipSync(text)],
  ['deflate', deflateSync(text)],
  ['deflate', deflateRawSync(text)],
  ['br', brotliCompressSync(text)],
  ['identity', Buffer.from(text)],
])('a body in %s is unpacked', async (encoding, bytes) => {
  expect(await bodyOf(bytes, encoding)).toBe(text);
});

test('a byte order mark is taken off, packed or not', async () => {
  expect(await bodyOf(Buffer.from(`\ufeff${text}`))).toBe(text);
  expect(await bodyOf(gzipSync(`\ufeff${text}`), 'gzip')).toBe(text);
});

test.each([
  ['gzip', gzipSync(Buffer.alloc(64 * 1024 * 1024))],
  ['br', brotliCompressSync(Buffer.alloc(4 * 1024 * 1024))],
  ['identity', Buffer.alloc(600 * 1024)],
])('a bomb in %s is refused at 512 KiB', async (encoding, bytes) => {
  const before = process.memoryUsage().arrayBuffers;
  await expect(bodyOf(bytes, encoding)).rejects.toMatchObject({
    code: 'PROVISIONING_ANSWER_INVALID',
    message: 'the answer is longer than 524288 bytes',
  });
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
});

test.each([
  ['gzip', gzipSync(text).subarray(0, 20), /answered damaged gzip/],
  ['gzip', Buffer.from(text), /answered damaged gzip/],
  ['zstd', Buffer.from(text), /in a content encoding that is not known: zstd/],
  ['constructor', Buffer.from(text), /in a content encoding that is not known: constructor/],
])('a body that is not what %s says is no answer', async (encoding, bytes, message) => {
  await expect(bodyOf(bytes, encoding)).rejects.toMatchObject({
    code: 'PROVISIONING_ANSWER_INVALID',
    message: expect.stringMatching(message),
  });
});
