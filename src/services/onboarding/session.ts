import type { OnboardingError } from '../../errors/onboardingError.ts';
import type { Message } from './registrationResult.ts';

/** Events of a connection, in the order of arrival. */
export type SessionEvent =
  /** A message on a subscription. `afterPublish`: it arrived after the request was handed to the connection. */
  | { readonly type: 'live'; readonly message: Message; readonly afterPublish: boolean }
  /** A message at the reply address of the request: a stream's acknowledgement, or an answer */
  | { readonly type: 'reply'; readonly message: Message }
  /** The result of a look-up. `unavailable`: no stream, no JetStream, or no right */
  | { readonly type: 'stored'; readonly last: Message | 'none' | 'unavailable' }
  /** The server denied a subject. */
  | { readonly type: 'denied'; readonly operation: 'publish' | 'subscription'; readonly subject: string }
  /** The connection ended by itself; nothing follows. */
  | { readonly type: 'closed'; readonly error: OnboardingError };

/** One connection to NATS with the device's identity. */
export interface Session {
  /** For one reader. Ends after `closed`, at `close()`, or when the reader stops; holds a bounded number of unread events. */
  readonly events: AsyncIterable<SessionEvent>;
  /** Subscribes, which brings `live` events; sent together with the next command. @throws {OnboardingError} NATS_* */
  subscribe(subject: string): void;
  /** Publishes once, with a reply address, which brings `reply`. @throws {OnboardingError} NATS_* */
  publishRequest(subject: string, text: string, headers: Readonly<Record<string, string>>): void;
  /** Looks up the last message that a stream holds for the subject: brings one `stored`, and never throws. */
  requestLastStored(subject: string): void;
  /** The server proved who it is, and saw the device's certificate. */
  readonly isEncrypted: boolean;
  close(): Promise<void>;
}
