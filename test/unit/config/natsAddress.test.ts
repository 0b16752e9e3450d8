import { expect, test } from 'vitest';
import { parseNatsAddresses } from '../../../src/config/natsAddress.ts';

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
