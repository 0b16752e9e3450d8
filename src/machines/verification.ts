import type { RetryPolicy } from './backoff.ts';

/** How often NATS refused a certificate, in a row. */
export interface Refusals {
  readonly count: number;
  /** The first of them, milliseconds since 1970; null: none */
  readonly since: number | null;
}

export const noRefusals: Refusals = { count: 0, since: null };

/** So often, and over `retry.maxMs` (5 minutes by default): a server that is being set up says no for a while. */
const fewestRefusals = 5;

/** @param now milliseconds since 1970 */
export function afterRefusal({ count, since }: Refusals, now: number): Refusals {
  return { count: count + 1, since: since ?? now };
}

/** Whether a certificate counts as refused for good. @param now milliseconds since 1970 */
export function isForGood({ count, since }: Refusals, now: number, { maxMs }: RetryPolicy): boolean {
  return count >= fewestRefusals && since !== null && now - since >= maxMs;
}

/** The daily look of a registered device at whether NATS still lets it in. */
export interface Verification {
  /** When it is due, milliseconds since 1970; null until the facts were read */
  readonly at: number | null;
  /** Failed tries in a row */
  readonly failures: number;
  /** Those of them that were refusals */
  readonly refusals: Refusals;
}

export const unverified: Verification = { at: null, failures: 0, refusals: noRefusals };

const dayMs = 24 * 60 * 60_000;

/**
 * When a device opens NATS again: once a day, at a random moment of the last quarter, so that devices that registered
 * together come apart. A device that is late (it was off, or an older version recorded nothing) takes a random moment of
 * the next minutes, three times `retry.maxMs`: others were off with it.
 *
 * @param verifiedAt milliseconds since 1970; null: not recorded
 * @param random uniform in [0, 1)
 * @param now milliseconds since 1970
 */
export function verificationAt(
  verifiedAt: number | null,
  random: number,
  now: number,
  { maxMs }: RetryPolicy,
): number {
  const due = verifiedAt === null ? now : verifiedAt + dayMs * (0.75 + 0.25 * random);
  const at = due > now ? Math.min(due, now + dayMs) : now + 3 * maxMs * random;
  return Math.round(at);
}

/**
 * Whether NATS is to be opened with the certificate in use. One that has expired is not worth a try.
 *
 * @param facts `lack`: what the device lacks to be registered; `notAfter`: milliseconds since 1970
 * @param now milliseconds since 1970
 */
export function isVerificationDue(
  { at }: Verification,
  { lack, notAfter }: { readonly lack: string | null; readonly notAfter: number | null },
  now: number,
): boolean {
  return lack === null && (notAfter ?? 0) > now && at !== null && now >= at;
}

/**
 * The moment that was set, unless the clock was set back since: it would then be days or years away.
 *
 * @param at as it was set, milliseconds since 1970; null: it was not
 * @param now milliseconds since 1970
 * @param longestMs the longest wait of a failed try, milliseconds
 * @returns null: it has to be set again
 */
export function withinReach(at: number | null, now: number, longestMs: number): number | null {
  return at !== null && at - now > Math.max(dayMs, longestMs) ? null : at;
}
