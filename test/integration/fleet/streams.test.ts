import type { ConsumerMessages, JsMsg } from 'nats';
import { expect, test } from 'vitest';
import { withoutEnd } from '../../../fleet/streams.ts';

/** What a consumer brings: a message where there is one, and then nothing. It tells of a pull as often as `pullMs` says. */
function consuming(message: string | undefined, pullMs?: number) {
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const made = {
    closed: 0,
    async *[Symbol.asyncIterator]() {
      if (message !== undefined) yield message as unknown as JsMsg;
      await ended;
    },
    async status() {
      return (async function* () {
        for (; pullMs !== undefined; await new Promise((resolve) => setTimeout(resolve, pullMs)))
          yield { type: 'next', data: {} };
      })();
    },
    async close() {
      made.closed += 1;
      end();
    },
  };
  return made;
}

const asConsumer = (made: unknown) => Promise.resolve(made as ConsumerMessages);

test('a consumer that pulls no more is closed, and the next one brings the messages', async () => {
  const [still, live] = [consuming('first'), consuming('second', 5)];
  const rest = [still, live];
  const actions = withoutEnd(() => asConsumer(rest.shift()), 20);
  const messages = actions[Symbol.asyncIterator]();
  expect([(await messages.next()).value, (await messages.next()).value]).toEqual(['first', 'second']);
  expect([still.closed, live.closed]).toEqual([1, 0]);
  const last = messages.next();
  await actions.close();
  expect((await last).done).toBe(true);
});
