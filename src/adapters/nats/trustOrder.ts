import { X509Certificate } from 'node:crypto';

/**
 * The orders in which a list of trusted CAs is tried. OpenSSL takes the first one with an issuer's name, and judges no other if
 * that one has another key, unless key identifiers tell them apart: so each of several CAs of one name has to come first once.
 *
 * @param caCertificate PEM
 * @returns PEM texts of the same certificates, at least one; one alone if all names differ
 */
export function trustOrders(caCertificate: string): string[] {
  const blocks = caCertificate.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length < 2 || new Set(blocks.map(subjectOf)).size === blocks.length) return [caCertificate];
  return blocks.map((_, first) =>
    [...blocks.slice(first), ...blocks.slice(0, first)].map((block) => `${block}\n`).join(''),
  );
}

/** One that OpenSSL cannot read has a name of its own. */
function subjectOf(pem: string): string {
  try {
    return new X509Certificate(pem).subject;
  } catch {
    return pem;
  }
}
