const longestMs = 365 * 24 * 60 * 60_000;

/**
 * When a certificate is renewed: at a fraction of its life, `renewal.at`. The fraction is rolled once per certificate
 * and kept, so that devices provisioned together do not renew together and a restart does not roll again.
 *
 * A CA that dates its certificates back may put that moment into the past: then it is the fraction of what is left,
 * or a device would ask for one certificate after the other.
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
  return new Date(Math.min(due > now ? due : after(now), now + longestMs));
}

/** The longest between two looks at the wall clock: one long sleep would miss a clock step and a suspend. */
const lookAtCertificateMs = 60_000;
/** Whatever the dates of a certificate say, the disk is not read without a pause. */
const shortestLookMs = 1_000;

/**
 * How long a registered device waits before it looks at its certificate again.
 *
 * @param renewAt when the certificate is due, milliseconds since 1970; null: not known
 * @param requestWaitMs until another certificate may be requested
 * @param now milliseconds since 1970
 * @returns milliseconds
 */
export function lookIntervalMs(renewAt: number | null, requestWaitMs: number, now: number): number {
  const untilDue = (renewAt ?? Number.POSITIVE_INFINITY) - now;
  return Math.min(lookAtCertificateMs, Math.max(shortestLookMs, requestWaitMs, untilDue));
}
