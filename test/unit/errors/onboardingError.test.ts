import { expect, test } from 'vitest';
import { parseNatsAddresses } from '../../../src/config/natsAddress.ts';
import { describe, excerpt, OnboardingError, redact } from '../../../src/errors/onboardingError.ts';
import { processorMs } from '../../support/processorTime.ts';

/** Of the processor. Far above what a linear pass over the text takes, far below what a quadratic one does. */
const promptMs = 250;

const size = 20_000;
const hostile = {
  slashes: '/'.repeat(size),
  'authorities without an end': '//a:b'.repeat(size),
  'begins of a key': '-----BEGIN '.repeat(size),
  'a key’s label': `-----BEGIN ${'PRIVATE KEY '.repeat(size)}`,
  'ends of a key': `-----BEGIN PRIVATE KEY-----${'-----END '.repeat(size)}`,
  'begins of a PIN': 'pin-value'.repeat(size),
  PINs: 'pin-value=\\'.repeat(size),
  'lines without a PIN': `A=${'pin'.repeat(size)}\n`.repeat(3),
  blanks: `a${' '.repeat(size)}b`,
  quotes: `//${'\'"'.repeat(size)}`,
};

test.each(Object.entries(hostile))('a text of %s is read in a moment', (_, text) => {
  expect(processorMs(() => redact(text))).toBeLessThan(promptMs);
  expect(processorMs(() => describe(new Error(text)))).toBeLessThan(promptMs);
  expect(processorMs(() => new OnboardingError('NATS_DENIED', text))).toBeLessThan(promptMs);
});

test('a message of an error is one line of at most 1,000 characters, the foreign part of at most 300', () => {
  const long = new OnboardingError('NATS_DENIED', 'x y\n\u0007'.repeat(1_000));
  expect(long.message.length).toBeLessThanOrEqual(1_000);
  expect(long.message).not.toMatch(/\p{Cc}/u);
  expect(long.message.endsWith('…')).toBe(true);
  expect(new OnboardingError('NATS_DENIED', '//@ '.repeat(250)).message.length).toBeLessThanOrEqual(1_000);
  for (const thrown of [new Error('x'.repeat(60_000)), 'x'.repeat(60_000)])
    expect(describe(thrown)).toBe(`${'x'.repeat(299)}…`);
});

test('a text that fits is left whole, and the code of a system error survives a cut', () => {
  expect(describe(new Error('x'.repeat(300)))).toBe('x'.repeat(300));
  const error = Object.assign(new Error('x'.repeat(400)), { code: 'ECONNRESET' });
  expect(describe(error)).toMatch(/x… \(ECONNRESET\)$/);
  expect(describe(new OnboardingError('NATS_DENIED', 'y'.repeat(500)))).toBe('y'.repeat(500));
});

test('no cut, wherever it falls, shows a part of a secret', () => {
  const secrets = [
    'nats://operator:hunter2@host:4222',
    'nats://hunter2token@host',
    'https://user:pa/th/hunter2@host',
    'nats://a:hunter2@one,nats://b:hunter2@two',
    '-----BEGIN PRIVATE KEY-----\nhunter2hunter2\n-----END PRIVATE KEY-----',
  ];
  for (const secret of secrets) {
    for (let length = 1; length <= secret.length + 10; length++) {
      const shown = excerpt(`cannot reach ${secret} at all`, 'cannot reach '.length + length);
      for (let part = 'hunter2'; part.length > 3; part = part.slice(0, -1))
        expect(shown, `${secret} cut after ${length}`).not.toContain(part);
    }
  }
});

test('what is cut within an address keeps its scheme and loses the rest', () => {
  expect(excerpt('no answer from nats://user:secret@host:4222', 30)).toBe('no answer from nats://***…');
  expect(excerpt('see "http://a.example/x" and the log of it', 30)).toBe('see "http://a.example/x" and…');
});

test('an address without credentials is shown as it is', () => {
  expect(describe(new Error('cannot reach http://10.0.0.1:8080'))).toBe('cannot reach http://10.0.0.1:8080');
});

test.each([
  ["nats://user:hunter'2@host", 'nats://***@host'],
  ['{"url":"nats://u:p@h","mail":"x@y"}', '{"url":"nats://***@h","mail":"x@y"}'],
  ['//u:p@h and //v:q@i', '//***@h and //***@i'],
  ['the key "pkcs11:?pin-value=my hunter2" fails', 'the key "pkcs11:?pin-value=***" fails'],
  ['{"k":"?PIN-value=1\\"hunter2","x":1}', '{"k":"?PIN-value=***","x":1}'],
  ['key: -----BEGIN EC PRIVATE KEY-----\nMHc=\n-----END EC PRIVATE KEY----- end', 'key: [private key] end'],
])('%s is shown as %s', (text, shown) => {
  expect(redact(text)).toBe(shown);
});

test('a cut never halves a character', () => {
  expect(excerpt('😀'.repeat(10), 6)).toBe('😀😀…');
});

test('a NATS address says what is wrong with it in a short line, however long it is', () => {
  for (const text of [
    `${'s'.repeat(size)}://x`,
    `host:${'9'.repeat(size)}`,
    'a,'.repeat(size),
    ','.repeat(size),
    '@'.repeat(size),
    `[${':'.repeat(size)}]`,
    `${'/'.repeat(size)}x`,
  ]) {
    const read = () => expect(() => parseNatsAddresses(text)).toThrow(/^the NATS address .{1,280}$/);
    expect(processorMs(read)).toBeLessThan(promptMs);
  }
});

test('an error of a device that is known keeps everything else', () => {
  const cause = new Error('ENOSPC');
  const options = { cause, class: 'permanent', reason: 'timeout', retryAfterMs: 5 } as const;
  const error = new OnboardingError('STATE_UNWRITABLE', 'the disk is full', options);
  expect(error.deviceId).toBeNull();
  const {
    code,
    message,
    retryAfterMs,
    reason,
    deviceId,
    cause: kept,
    class: errorClass,
  } = error.of('device-1');
  expect({ code, message, retryAfterMs, reason, deviceId, cause: kept, class: errorClass }).toEqual({
    ...options,
    code: 'STATE_UNWRITABLE',
    message: 'the disk is full',
    deviceId: 'device-1',
  });
});
