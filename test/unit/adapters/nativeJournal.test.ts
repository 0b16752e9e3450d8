import { expect, test } from 'vitest';
import { encodeEntry, journalField, journalWriter, type Send } from '../../../src/adapters/nativeJournal.ts';
import { events } from '../../../src/events.ts';

test('a value of one line is written behind its name', () => {
  expect(encodeEntry({ MESSAGE: 'a=b ü', PRIORITY: 6, ONBOARDD_ALIAS: null }).toString()).toBe(
    'MESSAGE=a=b ü\nPRIORITY=6\n',
  );
});

test('a value of several lines is written with its length in bytes, so that it forges no field', () => {
  const bytes = encodeEntry({ MESSAGE: 'ü\nPRIORITY=0', PRIORITY: 6 });
  const value = Buffer.from('ü\nPRIORITY=0');
  expect(bytes.subarray(0, 8).toString()).toBe('MESSAGE\n');
  expect(bytes.readBigUInt64LE(8)).toBe(BigInt(value.length));
  expect(bytes.subarray(16, 16 + value.length)).toEqual(value);
  expect(bytes.subarray(16 + value.length).toString()).toBe('\nPRIORITY=6\n');
});

test.each([
  ['event', 'ONBOARDD_EVENT'],
  ['retryInMs', 'ONBOARDD_RETRY_IN_MS'],
  ['deviceId', 'ONBOARDD_DEVICE_ID'],
])('the field %s is %s in the journal', (name, field) => {
  expect(journalField(name)).toBe(field);
});

test('the journal takes the name of every field', () => {
  const names = Object.values(events).flatMap(({ fields }) => Object.keys(fields));
  for (const name of names) expect(journalField(name)).toMatch(/^ONBOARDD_[A-Z0-9_]{1,55}$/);
});

/** A journal that answers when it is told to. */
function slow() {
  const sent: { text: string; done: Parameters<Send>[1] }[] = [];
  const write = journalWriter((bytes, done) => sent.push({ text: bytes.toString(), done }));
  return { sent, write };
}

test('entries go out one at a time and in order', () => {
  const { sent, write } = slow();
  for (const N of [1, 2, 3]) write({ N }, () => {});
  expect(sent.map(({ text }) => text)).toEqual(['N=1\n']);
  sent[0]?.done(null);
  sent[1]?.done(null);
  expect(sent.map(({ text }) => text)).toEqual(['N=1\n', 'N=2\n', 'N=3\n']);
});

test('what the journal does not take is told, and the next entry goes out', () => {
  const { sent, write } = slow();
  const failed: number[] = [];
  for (const N of [1, 2]) write({ N }, () => failed.push(N));
  sent[0]?.done(new Error('EMSGSIZE'));
  sent[1]?.done(null);
  expect([failed, sent.length]).toEqual([[1], 2]);
});

test('a journal that does not read holds up nothing, and costs a bounded memory', () => {
  const { sent, write } = slow();
  for (let N = 0; N < 10_000; N++) write({ N }, () => {});
  for (let at = 0; at < sent.length; at++) sent[at]?.done(null);
  expect(sent).toHaveLength(501);
});
