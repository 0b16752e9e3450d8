import { expect, test } from 'vitest';
import { createEventQueue } from '../../../../src/adapters/nats/eventQueue.ts';
import { longestMessage } from '../../../../src/adapters/nats/frames.ts';
import { OnboardingError } from '../../../../src/errors/onboardingError.ts';
import type { SessionEvent } from '../../../../src/services/onboarding/session.ts';

const closed: SessionEvent = { type: 'closed', error: new OnboardingError('NATS_UNREACHABLE', 'it broke') };
const denied: SessionEvent = { type: 'denied', operation: 'publish', subject: 'a' };
const none: SessionEvent = { type: 'stored', last: 'none' };

function live(text: string): SessionEvent {
  const message = { text, id: null, timestamp: null, storedAt: null, sequence: null, status: null };
  return { type: 'live', message, afterPublish: true };
}

async function readAll(events: AsyncIterable<SessionEvent>): Promise<SessionEvent[]> {
  const all: SessionEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

test('events are read in the order of arrival, and none behind the end of the connection', async () => {
  const queue = createEventQueue();
  for (const event of [live('1'), denied, none, live('2'), closed, live('3'), closed]) queue.push(event);
  expect(await readAll(queue.events)).toEqual([live('1'), denied, none, live('2'), closed]);
});

test('a reader that waits gets what arrives', async () => {
  const queue = createEventQueue();
  const reading = readAll(queue.events);
  for (const event of [live('1'), none]) {
    await new Promise((resolve) => setImmediate(resolve));
    queue.push(event);
  }
  queue.push(closed);
  expect(await reading).toEqual([live('1'), none, closed]);
});

test('the end wakes a reader that waits, and drops what waits', async () => {
  const waiting = createEventQueue();
  const reading = readAll(waiting.events);
  await new Promise((resolve) => setImmediate(resolve));
  waiting.end();
  expect(await reading).toEqual([]);
  const unread = createEventQueue();
  unread.push(live('1'));
  unread.end();
  unread.push(live('2'));
  expect(await readAll(unread.events)).toEqual([]);
});

test('an error of its reader reaches nobody who pushes, and ends the queue', async () => {
  const queue = createEventQueue();
  const reading = (async () => {
    for await (const event of queue.events) throw new Error(event.type);
  })();
  queue.push(live('1'));
  await expect(reading).rejects.toThrow('live');
  expect(() => queue.push(live('2'))).not.toThrow();
  expect(await readAll(queue.events)).toEqual([]);
});

test('a reader that reads nothing holds a bounded number of messages, and hears of denials and the end', async () => {
  const queue = createEventQueue();
  const long = live('x'.repeat(longestMessage / 8));
  for (let count = 0; count < 1_000; count++) queue.push(long);
  for (let count = 0; count < 20_000; count++) queue.push({ type: 'reply', message: nothing });
  for (let count = 0; count < 20_000; count++) queue.push(denied);
  queue.push(none);
  queue.push(closed);
  const read = await readAll(queue.events);
  const count = (type: SessionEvent['type']) => read.filter((event) => event.type === type).length;
  expect(count('live')).toBe(15);
  for (const type of ['reply', 'denied'] as const) {
    expect(count(type)).toBeGreaterThan(5_000);
    expect(count(type)).toBeLessThan(20_000);
  }
  expect(read.slice(-2)).toEqual([none, closed]);
});

test('a reader that keeps up misses nothing, however much it was', async () => {
  const queue = createEventQueue();
  const reading = readAll(queue.events);
  for (let count = 0; count < 50; count++) {
    queue.push(live('x'.repeat(longestMessage)));
    await new Promise((resolve) => setImmediate(resolve));
  }
  queue.push(closed);
  expect(await reading).toHaveLength(51);
});

const nothing = { text: '', id: null, timestamp: null, storedAt: null, sequence: null, status: null };
