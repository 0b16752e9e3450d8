import {
  AckPolicy,
  ConsumerDebugEvents,
  type ConsumerMessages,
  type JsMsg,
  type NatsConnection,
  NatsError,
} from 'nats';

export const actionsStream = 'DEVICE_ACTIONS';
export const resultsStream = 'DEVICE_RESULTS';
const durable = 'fleet-manager';
const tryEveryMs = 100;
const pullMs = 2_000;
/** Without a pull, before it counts as stopped */
const mostTicks = 5;
const nanosecondsPerSecond = 1_000_000_000;
const nanosecondsPerMs = 1_000_000;

export interface StreamOptions {
  /** Whether results may be read by direct get; true by default. */
  allowDirect?: boolean;
  /** copies of each stream in a cluster, 1 by default */
  replicas?: number;
  /** names of the streams, where they are not the usual ones */
  streams?: { actions?: string; results?: string };
  /** how long messages are kept, ms; for ever by default */
  maxAgeMs?: number;
  /** how long a cluster may take to agree on its leaders, ms; 30 s by default */
  patienceMs?: number;
}

/** Creates both streams where they are not there yet. @throws {NatsError} such as 503 where JetStream is off */
export async function createStreams(connection: NatsConnection, options: StreamOptions): Promise<void> {
  const { allowDirect = true, replicas = 1, streams = {}, maxAgeMs = 0 } = options;
  const { patienceMs = replicas > 1 ? 30_000 : 0 } = options;
  const manager = await insist(patienceMs, () => connection.jetstreamManager({ checkAPI: patienceMs === 0 }));
  const create = (name: string, subject: string, direct: boolean) =>
    insist(patienceMs, () =>
      manager.streams.add({
        name,
        subjects: [subject],
        num_replicas: replicas,
        allow_direct: direct,
        max_age: maxAgeMs * nanosecondsPerMs,
      }),
    );
  const actions = streams.actions ?? actionsStream;
  await create(actions, 'device_actions.>', false);
  await create(streams.results ?? resultsStream, 'device_results.>', allowDirect);
  await insist(patienceMs, () =>
    manager.consumers.add(actions, {
      durable_name: durable,
      ack_policy: AckPolicy.Explicit,
      ack_wait: 30 * nanosecondsPerSecond,
      max_ack_pending: -1,
      num_replicas: replicas,
    }),
  );
}

/** Messages without end, until it is closed. */
export interface Actions extends AsyncIterable<JsMsg> {
  close(): Promise<unknown>;
}

/** The requests that arrive from now on or have not been acknowledged yet. */
export async function actionsOf(connection: NatsConnection, subject: string): Promise<Actions> {
  const manager = await connection.jetstreamManager({ checkAPI: false });
  const stream = await manager.streams.find(subject.replace('*', 'any'));
  const consumer = await connection.jetstream({ checkAPI: false }).consumers.get(stream, durable);
  // Short pulls: after a restart of the server the next one is due soon.
  return withoutEnd(() => consumer.consume({ max_messages: 500, expires: pullMs }), pullMs);
}

/**
 * Consumes again where the library has stopped to pull: it does so for good if, after a leader of the cluster was lost, a
 * reconnection finds it still looking for the consumer, and the pull after that is lost, too.
 *
 * @param consume whose pulls last `everyMs`
 */
export function withoutEnd(consume: () => Promise<ConsumerMessages>, everyMs: number): Actions {
  let isOver = false;
  let messages: ConsumerMessages | undefined;
  async function* all() {
    while (!isOver) {
      messages = await consume();
      const watch = closeWhenStill(messages, everyMs);
      try {
        yield* messages;
      } finally {
        clearInterval(watch);
      }
    }
  }
  return {
    [Symbol.asyncIterator]: all,
    async close() {
      isOver = true;
      await messages?.close();
    },
  };
}

/** Counts ticks and not time, of which much can pass at once in a process that was held up. */
function closeWhenStill(messages: ConsumerMessages, everyMs: number): NodeJS.Timeout {
  let ticks = 0;
  const listen = async () => {
    for await (const { type } of await messages.status()) if (type === ConsumerDebugEvents.Next) ticks = 0;
  };
  void listen();
  return setInterval(() => {
    ticks += 1;
    if (ticks > mostTicks) void messages.close();
  }, everyMs).unref();
}

/** Tries again while a cluster has no leader yet. */
async function insist<T>(patienceMs: number, attempt: () => Promise<T>): Promise<T> {
  const end = Date.now() + patienceMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof NatsError) || Date.now() + tryEveryMs > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, tryEveryMs));
    }
  }
}
