/**
 * When a certificate is renewed: at a fraction of its life, `renewal.at`. The fraction is rolled once per certificate
 * and kept, so that devices provisioned together do not renew together and a restart does not roll again.
 *
 * @param at the fraction, or the range that it is drawn from
 * @param random uniform in [0, 1)
 */
export function renewAt(
  certificate: { notBefore: Date; notAfter: Date },
  at: number | readonly [number, number],
  random: number,
): Date {
  const fraction = typeof at === 'number' ? at : at[0] + (at[1] - at[0]) * random;
  const start = certificate.notBefore.getTime();
  return new Date(Math.round(start + (certificate.notAfter.getTime() - start) * fraction));
}
