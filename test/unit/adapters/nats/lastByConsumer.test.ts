import type { Msg, NatsConnection } from 'nats';
import { expect, test } from 'vitest';
import { lastByConsumer } from '../../../../src/adapters/nats/lastByConsumer.ts';

const place = { stream: 'RESULTS', subject: 'device_results.d1.register', inboxPrefix: '_INBOX' };

/** A connection whose server makes consumers. @param answers one for each request for a consumer */
function serverWith(answers: (object | Error)[]) {
  let onMessage: (error: null, message: Msg) => void = () => {};
  const connection = {
    subscribe(_: string, options: { callback: typeof onMessage }) {
      onMessage = options.callback;
      return { unsubscribe: () => undefined };
    },
    async request() {
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return { json: () => answer };
    },
  } as unknown as NatsConnection;
  const push = (sequence: number, consumer = 'c1') =>
    onMessage(null, {
      data: new TextEncoder().encode('{}'),
      reply: `$JS.ACK.RESULTS.${consumer}.1.${sequence}.1.1700000000000000000.0`,
    } as unknown as Msg);
  return { connection, push };
}

test('what two consumers on one inbox bring counts once, and only what follows is told', async () => {
  // The first answer is late: the consumer is there all the same, and another one is made.
  const { connection, push } = serverWith([new Error('timeout'), { num_pending: 1 }]);
  const following: string[] = [];
  const consumer = await lastByConsumer(connection, place, 1_000, ({ reply }) => following.push(reply ?? ''));
  push(5, 'c1');
  push(5, 'c2');
  expect(await consumer.last()).toMatchObject({ sequence: 5 });
  expect(following).toEqual([]);
  push(6, 'c1');
  push(6, 'c2');
  push(5, 'c2');
  expect(following).toHaveLength(1);
  expect(await consumer.last()).toMatchObject({ sequence: 6 });
});
