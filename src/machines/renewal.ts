const longestMs = 365 * 24 * 60 * 60_000;

/**
 * When a certificate is renewed: at a fraction of its life, `renewal.at`. The fraction is rolled once per certificate
 * and kept, so that devices provisioned together do not renew together and a restart does not roll again.
 *
 * A CA that dates its certificates back may put that moment into the past: then it is the fraction of what is left,
 * or a device would ask for one certificate after the other. Nothing is left for a clock that is past the end: that
 * clock is wrong, or another certificate is due at once, and a moment after the end would be too late for either.
 *
 * Never later than in a year: a certificate may claim to live for a century, and its CA must be able to take it back.
 *
 * @param at the fraction, or the range that it is drawn from
 * @param random uniform in [0, 1)
 * @param now milliseconds since 1970
 */
export function renewAt(
  certificate: { notBefore: Date; notAfter: Date },
  at: number | readonly [number, number],
  random: number,
  now: number,
): Date {
  const fraction = typeof at === 'number' ? at : at[0] + (at[1] - at[0]) * random;
  const end = certificate.notAfter.getTime();
  const after = (start: number) => Math.round(start + (end - start) * fraction);
  const due = after(certificate.notBefore.getTime());
  const isLate = due <= now && now < end;
  return new Date(Math.min(isLate ? after(now) : due, now + longestMs));
}

/** The longest between two looks at the wall clock: one long sleep would miss a clock step and a suspend. */
const lookAtCertificateMs = 60_000;
/** Whatever the dates of a certificate say, the disk is not read without a pause. */
const shortestLookMs = 1_000;

/** Moments of a registered device, milliseconds since 1970; null: not known */
export interface Dates {
  readonly renewAt: number | null;
  readonly notAfter: number | null;
  readonly verifyAt: number | null;
}

/**
 * How long a registered device waits before it looks at its certificate again.
 *
 * @param requestWaitMs until another certificate may be requested
 * @param now milliseconds since 1970
 * @returns milliseconds
 */
export function lookIntervalMs(
  { renewAt, notAfter, verifyAt }: Dates,
  requestWaitMs: number,
  now: number,
): number {
  const until = (moment: number | null) => (moment ?? Number.POSITIVE_INFINITY) - now;
  const untilWork = Math.min(Math.max(requestWaitMs, until(renewAt)), until(verifyAt));
  const look = Math.min(lookAtCertificateMs, Math.max(shortestLookMs, untilWork));
  return Math.min(look, untilExpiryMs(notAfter, now));
}

/** The longest that a timer takes */
const longestTimerMs = 2 ** 31 - 1;

/**
 * How long until a certificate has expired, in milliseconds: no wait of a registered device is longer. At most what a timer
 * takes; that, too, if it is not known or in the past, since then nothing is left to wait for.
 */
export function untilExpiryMs(notAfter: number | null, now: number): number {
  if (notAfter === null || notAfter < now) return longestTimerMs;
  return Math.min(longestTimerMs, notAfter - now + 1);
}

/**
 * @param waitMs until the next try
 * @returns whether a certificate that could not be renewed is in the last third of its time for that, or will have expired by
 *   the next try
 */
export function isUrgent(
  { renewAt, notAfter }: Omit<Dates, 'verifyAt'>,
  now: number,
  waitMs: number,
): boolean {
  if (renewAt === null || notAfter === null) return false;
  return now >= notAfter - (notAfter - renewAt) / 3 || now + waitMs > notAfter;
}
