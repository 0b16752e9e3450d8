import { expect, test } from 'vitest';
import { frameGuard, longestLine, longestMessage } from '../../../../src/adapters/nats/frames.ts';

const info = `INFO ${JSON.stringify({ server_id: 'a' })}\r\n`;

/** Feeds the bytes in chunks of a size. */
function feed(bytes: string | Buffer, size = Number.POSITIVE_INFINITY): void {
  const guard = frameGuard();
  const all = Buffer.from(bytes as string, 'latin1');
  for (let at = 0; at < all.length; at += size) guard(all.subarray(at, Math.min(all.length, at + size)));
}

test.each([
  ['every operation', `${info}PING\r\nPONG\r\n+OK\r\n-ERR 'no'\r\nMSG a 1 2\r\nhi\r\n`],
  ['lower case and tabs', 'msg\ta\t1\t2\r\nhi\r\npong\r\n'],
  ['a message with a reply and headers', 'HMSG a 1 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\nPING\r\n'],
  ['an empty message', 'MSG a 1 0\r\n\r\nPING\r\n'],
  ['a message that holds what looks like another', 'MSG a 1 16\r\nMSG b 2 99999999\r\nPING\r\n'],
  ['a message of exactly 4 MiB', `MSG a 1 ${longestMessage}\r\n${'x'.repeat(longestMessage)}\r\nPING\r\n`],
  ['a line of exactly 64 KiB', `-ERR ${'x'.repeat(longestLine - 6)}\r\n`],
])('%s passes, in whatever pieces it comes', (_, bytes) => {
  for (const size of [1, 2, 3, 7, 64 * 1024, Number.POSITIVE_INFINITY]) {
    if (size < 10 && bytes.length > 100_000) continue;
    expect(() => feed(bytes, size), `in pieces of ${size}`).not.toThrow();
  }
});

test.each([
  ['a message over 4 MiB', `MSG a 1 ${longestMessage + 1}\r\n`, /longer than 4194304/],
  ['a message of 4,000,000,000 bytes', 'MSG a 1 4000000000\r\n', /longer than 4194304/],
  ['a message with headers over 4 MiB', `HMSG a 1 12 ${longestMessage + 1}\r\n`, /longer than 4194304/],
  ['a message of a size with an exponent', 'MSG a 1 4e9\r\n', /longer than 4194304/],
  ['a message of a negative size', 'MSG a 1 -1\r\n', /longer than 4194304/],
  ['a message without a size', 'MSG a\r\n', /longer than 4194304/],
  ['a message longer than announced', 'MSG a 1 2\r\nhi!\r\n', /longer than announced/],
  ['a line without an end', `-ERR ${'x'.repeat(longestLine)}`, /line longer/],
  ['an unknown operation', 'HELLO\r\n', /not the NATS protocol/],
  ['an operation that only begins like one', 'PINGPONG\r\n', /not the NATS protocol/],
  ['an INFO that is not JSON', 'INFO \u009b31m{\r\n', /INFO that is not JSON/],
  ['an empty line', '\r\n', /not the NATS protocol/],
  ['a page of HTTP', 'HTTP/1.1 200 OK\r\n', /not the NATS protocol/],
])('%s is refused, in whatever pieces it comes', (_, bytes, said) => {
  for (const size of [1, 2, 3, 7, 64 * 1024, Number.POSITIVE_INFINITY]) {
    expect(() => feed(bytes, size), `in pieces of ${size}`).toThrow(said);
  }
});
