import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';

/** Where distributions keep the bundle; the first that is there is read. The list is Go's (crypto/x509). */
const bundles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
];
/** Read besides the bundle: a CA is often only put there. */
const folders = ['/etc/ssl/certs', '/etc/pki/tls/certs'];

/**
 * The CA certificates that this system trusts, PEM, as OpenSSL and Go find them: `SSL_CERT_FILE` and `SSL_CERT_DIR`
 * stand in for the distribution's places; `NODE_EXTRA_CA_CERTS` is added, which Node passes over where a list is given.
 *
 * @returns undefined where there are none: Node's own list then stands
 */
export function systemAuthorities(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string[] | undefined {
  const { SSL_CERT_FILE, SSL_CERT_DIR, NODE_EXTRA_CA_CERTS } = environment;
  const files = SSL_CERT_FILE ? [SSL_CERT_FILE] : bundles;
  const bundle = files.map(readCertificates).find((found) => found.length > 0) ?? [];
  const places = SSL_CERT_DIR ? SSL_CERT_DIR.split(':').filter((place) => place !== '') : folders;
  const single = places.flatMap(filesIn).flatMap(readCertificates);
  const own = bundle.length + single.length === 0 ? [] : [...bundle, ...single];
  if (own.length === 0) return undefined;
  const extra = NODE_EXTRA_CA_CERTS ? readCertificates(NODE_EXTRA_CA_CERTS) : [];
  return [...new Set([...own, ...extra])];
}

/** Each file once: a folder of certificates holds a link by its hash for each. */
function filesIn(folder: string): string[] {
  try {
    const paths = readdirSync(folder).map((name) => {
      try {
        return realpathSync(join(folder, name));
      } catch {
        return null;
      }
    });
    return [...new Set(paths)].filter((path) => path !== null && !bundles.includes(path)) as string[];
  } catch {
    return [];
  }
}

/** The PEM blocks of a file in one form, so that equal ones are found; empty if the file has no certificates. */
function readCertificates(path: string): string[] {
  try {
    const blocks = readFileSync(path, 'latin1').match(
      /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]*-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g,
    );
    return (blocks ?? []).map((block) => `${block.replace(/\r/g, '').replace(/[ \t]+$/gm, '')}\n`);
  } catch {
    return [];
  }
}
