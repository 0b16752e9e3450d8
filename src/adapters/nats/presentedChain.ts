import { X509Certificate } from 'node:crypto';

/**
 * What a TLS client presents: its certificate and every intermediate, also those that stand among the CAs that it trusts. A
 * server that knows only the root needs them all; OpenSSL completes a chain only if the client presents a certificate
 * alone, and then up to the first one that it trusts. Roots are left out, the server has its own.
 *
 * @param certificate PEM, the client's own first
 * @param caCertificate PEM
 * @returns PEM; `certificate` itself if nothing is missing
 */
export function presentedChain(certificate: string, caCertificate: string): string {
  const isIntermediate = ({ subject, issuer }: X509Certificate) => subject !== issuer;
  const left = new Set(readAll(caCertificate).filter(isIntermediate));
  if (left.size === 0) return certificate;
  const presented = readAll(certificate);
  const known = new Set(presented.map(({ fingerprint256 }) => fingerprint256));
  const missing: string[] = [];
  // What is added is visited, too: its issuer may be missing as well.
  for (const child of presented) {
    for (const issuer of left) {
      if (!child.checkIssued(issuer)) continue;
      left.delete(issuer);
      if (known.has(issuer.fingerprint256)) continue;
      presented.push(issuer);
      missing.push(issuer.toString());
    }
  }
  return certificate + missing.join('');
}

/** Those that OpenSSL can read. */
function readAll(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.flatMap((block) => {
    try {
      return [new X509Certificate(block)];
    } catch {
      return [];
    }
  });
}
