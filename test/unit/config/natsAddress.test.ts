import { expect, test } from 'vitest';
import { parseNatsAddresses, showNatsAddress } from '../../../src/config/natsAddress.ts';

const port = 4222;

test.each<[string, object]>([
  ['TLS://a:1', { host: 'a', port: 1 }],
  ['::1', { host: '::1', port }],
  ['[::1]', { host: '::1', port }],
  ['[fe80::1]:65535', { host: 'fe80::1', port: 65535 }],
  ['a-b_c.d', { host: 'a-b_c.d', port }],
  ['user@h', { host: 'h', port, token: 'user' }],
  [':pw@h', { host: 'h', port, user: '', password: 'pw' }],
  ['@h', { host: 'h', port, token: '' }],
  ['a%40b:c%3Ad:e@h', { host: 'h', port, user: 'a@b', password: 'c:d:e' }],
  ['a@b:c@h', { host: 'h', port, user: 'a@b', password: 'c' }],
])('%s is one address', (text, expected) => {
  expect(parseNatsAddresses(text)).toEqual([expected]);
});

test.each([
  ['', 'the NATS address is empty'],
  [' ,', 'the NATS address is empty'],
  ['http://a', 'the NATS address has the scheme "http"; nats:// and tls:// are allowed'],
  [
    `${'s'.repeat(41)}://a`,
    `the NATS address has the scheme "${'s'.repeat(39)}…"; nats:// and tls:// are allowed`,
  ],
  [
    `${'s'.repeat(40)}://a`,
    `the NATS address has the scheme "${'s'.repeat(40)}"; nats:// and tls:// are allowed`,
  ],
  ['a:65536', 'the NATS address has the port 65536; 1 to 65535 are allowed'],
  ['a:0', 'the NATS address has the port 0; 1 to 65535 are allowed'],
  [`a:${'1'.repeat(41)}`, `the NATS address has the port ${'1'.repeat(39)}…; 1 to 65535 are allowed`],
  ['a%:b@h', 'the NATS address has credentials that are not percent-encoded'],
  ['-nats://a', 'the NATS address has no valid host name or IP address'],
  ['a\n', undefined],
  ['a//', 'the NATS address has no valid host name or IP address'],
  ['a/b', 'the NATS address has no valid host name or IP address'],
  ['[a]', 'the NATS address has no valid host name or IP address'],
  ['x[::1]', 'the NATS address has no valid host name or IP address'],
  ['[::1]x', 'the NATS address has no valid host name or IP address'],
  ['[::1]:', 'the NATS address has no valid host name or IP address'],
  ['a'.repeat(254), 'the NATS address has no valid host name or IP address'],
  ['-a', 'the NATS address has no valid host name or IP address'],
  ['a\nb', 'the NATS address has no valid host name or IP address'],
])('%j: %s', (text, message) => {
  if (message === undefined) expect(parseNatsAddresses(text)).toHaveLength(1);
  else expect(() => parseNatsAddresses(text)).toThrow(new TypeError(message));
});

test('a cluster has at most 64 servers, in at most 64 Ki characters', () => {
  const servers = (count: number) => Array.from({ length: count }, (_, n) => `s${n}`).join();
  expect(parseNatsAddresses(servers(64))).toHaveLength(64);
  expect(() => parseNatsAddresses(servers(65))).toThrow('the NATS address names more than 64 servers');
  expect(parseNatsAddresses('a'.padEnd(65536))).toHaveLength(1);
  expect(() => parseNatsAddresses('a'.padEnd(65537))).toThrow(
    'the NATS address is longer than 65536 characters',
  );
});

test('an address is shown without what is secret in it', () => {
  expect(showNatsAddress({ host: 'a', port: 1, user: 'u', password: 'p' })).toBe('a:1');
  expect(showNatsAddress({ host: '::1', port: 4222 })).toBe('[::1]:4222');
});

test.each([
  ['nats://a:1', [{ host: 'a', port: 1 }]],
  ['tls://a.b:65535/', [{ host: 'a.b', port: 65535 }]],
  ['10.0.0.1', [{ host: '10.0.0.1', port: 4222 }]],
  [
    'a, tls://b:1,',
    [
      { host: 'a', port: 4222 },
      { host: 'b', port: 1 },
    ],
  ],
  ['nats://[::1]:5', [{ host: '::1', port: 5 }]],
  ['nats://s3cret@h', [{ host: 'h', port: 4222, token: 's3cret' }]],
  ['user:1234pw@h', [{ host: 'h', port: 4222, user: 'user', password: '1234pw' }]],
])('the NATS address %s is understood', (text, expected) => {
  expect(parseNatsAddresses(text)).toEqual(expected);
});

test.each([
  '',
  ' , ',
  'http://a',
  'a:0',
  'a:99999',
  'a b',
  'nats://',
  '[nonsense]:1',
  'a:port',
])('the NATS address "%s" is refused', (text) => {
  expect(() => parseNatsAddresses(text)).toThrow(TypeError);
});
