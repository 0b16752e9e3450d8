import type { Session, SessionEvent } from '../../services/onboarding/session.ts';
import { longestMessage } from './frames.ts';

/**
 * Queue between a connection, which must never wait or fail, and the reader of its events. Holds at most 8 MiB of each type
 * of event; further events are dropped, as NATS drops messages of a slow consumer.
 */
export interface EventQueue {
  readonly events: Session['events'];
  /** Never throws. After `closed` or `end` it does nothing. */
  push(event: SessionEvent): void;
  /** Drops waiting events; the reader's loop ends. */
  end(): void;
}

/** Far above the need of a reader that keeps up: a chunk of the socket holds at most one message of maximum length. */
const mostWaiting = 2 * longestMessage;
/** Size of an event besides its text, bytes. */
const overhead = 1_000;

export function createEventQueue(): EventQueue {
  const waiting: SessionEvent[] = [];
  const sizes = new Map<SessionEvent['type'], number>();
  let isClosed = false;
  let wake = () => {};

  const add = (type: SessionEvent['type'], size: number) => {
    const total = (sizes.get(type) ?? 0) + size;
    if (total > mostWaiting) return false;
    sizes.set(type, total);
    return true;
  };
  const end = () => {
    isClosed = true;
    waiting.length = 0;
    wake();
  };
  async function* read(): AsyncGenerator<SessionEvent, void, undefined> {
    try {
      for (;;) {
        const event = waiting.shift();
        if (event !== undefined) {
          add(event.type, -sizeOf(event));
          yield event;
        } else if (isClosed) return;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      end();
    }
  }
  return {
    events: read(),
    push(event) {
      if (isClosed || !add(event.type, sizeOf(event))) return;
      isClosed = event.type === 'closed';
      waiting.push(event);
      wake();
    },
    end,
  };
}

function sizeOf(event: SessionEvent): number {
  if (event.type === 'denied') return overhead + event.subject.length;
  const message = event.type === 'closed' ? null : event.type === 'stored' ? event.last : event.message;
  if (message === null || typeof message === 'string') return overhead;
  const { text, id, timestamp } = message;
  return overhead + (text?.length ?? 0) + (id?.length ?? 0) + (timestamp?.length ?? 0);
}
