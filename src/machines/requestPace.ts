import { backoffMs, longestRetryAfterMs, type RetryPolicy } from './backoff.ts';
import type { Clock } from './clock.ts';

/**
 * The distance that requests for certificates keep from one another, whichever states they are made in: certificates
 * may live for seconds.
 */
export interface RequestPace {
  /** How many certificates were requested in a row, each within `retry.maxMs` of the one before. */
  readonly requests: number;
  /** Milliseconds since 1970; null: none was requested */
  readonly lastRequestAt: number | null;
  /** No certificate is requested before then. Milliseconds since 1970; null: at any time */
  readonly nextRequestAt: number | null;
}

export const unpaced: RequestPace = { requests: 0, lastRequestAt: null, nextRequestAt: null };

/** @returns milliseconds until the next request is allowed; bounded, whatever was done to the clock since. */
export function requestWaitMs({ nextRequestAt }: RequestPace, now: number, retry: RetryPolicy): number {
  return Math.min(Math.max(0, (nextRequestAt ?? 0) - now), longestRetryAfterMs + retry.maxMs);
}

/** The pace once a certificate is requested: the wait grows with every request in a row. */
export function afterRequest(pace: RequestPace, clock: Clock, retry: RetryPolicy): RequestPace {
  const now = clock.now();
  const isInRow = pace.lastRequestAt !== null && now - pace.lastRequestAt < retry.maxMs;
  const requests = isInRow ? pace.requests + 1 : 1;
  return { requests, lastRequestAt: now, nextRequestAt: now + backoffMs(retry, requests, clock.random()) };
}
