/** How long steps wait between attempts: `retry.*` of the configuration, milliseconds. */
export interface RetryPolicy {
  readonly initialMs: number;
  readonly maxMs: number;
  readonly factor: number;
}

/** A server may ask for more than `retry.maxMs`, but nonsense must not silence a device for days. */
export const longestRetryAfterMs = 60 * 60 * 1000;

/**
 * Full jitter: uniform between 0 and the exponential ceiling, so that devices that failed together do not come back
 * together (AWS Architecture Blog, "Exponential Backoff And Jitter"). A server's Retry-After is the least that we
 * wait; the jitter comes on top, or a whole fleet would return in the same second.
 *
 * @param attempt the attempt that failed, from 1
 * @param random uniform in [0, 1)
 * @returns milliseconds
 */
export function backoffMs(
  policy: RetryPolicy,
  attempt: number,
  random: number,
  retryAfterMs: number | null = null,
): number {
  const ceiling = Math.min(policy.maxMs, policy.initialMs * policy.factor ** Math.max(0, attempt - 1));
  const least = Math.min(Math.max(0, retryAfterMs ?? 0), longestRetryAfterMs);
  return Math.round(least + random * ceiling);
}
