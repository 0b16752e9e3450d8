import { createInbox, type Msg, type NatsConnection } from 'nats';
import { parseInfo } from 'nats/lib/jetstream/jsmsg.js';

/** A message of a stream, and where it lies there. */
export interface Pushed {
  readonly message: Msg;
  /** Milliseconds since 1970 */
  readonly storedAt: number;
  /** From 1 */
  readonly sequence: number;
}

/** The newest message that a consumer has brought. */
export interface LastByConsumer {
  /** Waits for the first one, if the stream held one when the consumer was made. */
  last(): Promise<Pushed | 'none'>;
}

/** The server forgets a consumer that nobody listens to after so long. */
const forgottenAfterNs = 30_000_000_000;
const millisecondNs = 1_000_000;

/**
 * Reads the last message of a subject, and what follows it, by a push consumer without acknowledgements, as the fleet's
 * reference client does: it takes the rights to CONSUMER.CREATE and to the own inbox, and none to the subject.
 *
 * @param onFollowing told of each message that was stored after the consumer was made
 * @throws {Error} where the server lets no consumer be made: no right, no such stream, no answer in time
 */
export async function lastByConsumer(
  connection: NatsConnection,
  place: { readonly stream: string; readonly subject: string; readonly inboxPrefix: string },
  timeoutMs: number,
  onFollowing: (message: Msg) => void,
): Promise<LastByConsumer> {
  const { stream, subject, inboxPrefix } = place;
  const inbox = createInbox(inboxPrefix);
  let newest: Pushed | 'none' = 'none';
  let isExpected = true;
  let arrived = () => {};
  const first = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const subscription = connection.subscribe(inbox, {
    callback: (error, message) => {
      if (error !== null || message.data.length === 0) return;
      const pushed = placed(message);
      // A second consumer on this inbox, made for a late answer of the first, brings the same again.
      if (pushed === null || (newest !== 'none' && pushed.sequence <= newest.sequence)) return;
      // What the stream held already comes first, and once.
      const isFollowing = newest !== 'none' || !isExpected;
      newest = pushed;
      arrived();
      if (isFollowing) onFollowing(message);
    },
  });
  const wanted = {
    deliver_subject: inbox,
    deliver_policy: 'last',
    ack_policy: 'none',
    filter_subject: subject,
    replay_policy: 'instant',
    inactive_threshold: forgottenAfterNs,
    mem_storage: true,
    num_replicas: 1,
  };
  try {
    const held = await create(connection, stream, wanted, timeoutMs);
    isExpected = held;
    if (!held) arrived();
  } catch (error) {
    subscription.unsubscribe();
    throw error;
  }
  const deadline = AbortSignal.timeout(timeoutMs);
  const late = new Promise<never>((_, reject) => {
    deadline.addEventListener('abort', () => reject(new Error('the consumer brings nothing')));
  });
  late.catch(() => undefined);
  return {
    async last() {
      await Promise.race([first, late]);
      return newest;
    },
  };
}

/** Makes the consumer. @returns whether the stream held a message for it */
async function create(
  connection: NatsConnection,
  stream: string,
  config: { readonly filter_subject: string; readonly [name: string]: unknown },
  timeoutMs: number,
): Promise<boolean> {
  const name = createInbox('c').replace(/^c\./, 'onboardd-');
  const api = `$JS.API.CONSUMER.CREATE.${stream}`;
  const ask = async (subject: string, consumer: object) => {
    const body = JSON.stringify({ stream_name: stream, config: consumer });
    const answer = (await connection.request(subject, body, { timeout: timeoutMs })).json<Created>();
    if (answer.error !== undefined) throw new Error(`the consumer is refused: ${answer.error.description}`);
    return (answer.num_pending ?? 0) > 0 || (answer.delivered?.consumer_seq ?? 0) > 0;
  };
  // From 2.9 on the name and the subject stand in the request's own; a right may be granted for either form.
  try {
    return await ask(`${api}.${name}.${config.filter_subject}`, { ...config, name });
  } catch {
    return await ask(api, config);
  }
}

interface Created {
  readonly error?: { readonly description?: string };
  readonly num_pending?: number;
  readonly delivered?: { readonly consumer_seq?: number };
}

/** @returns null for what does not come from a stream */
function placed(message: Msg): Pushed | null {
  try {
    const { streamSequence, timestampNanos } = parseInfo(message.reply ?? '');
    const storedAt = Math.floor(timestampNanos / millisecondNs);
    return Number.isNaN(storedAt) ? null : { message, sequence: streamSequence, storedAt };
  } catch {
    return null;
  }
}
