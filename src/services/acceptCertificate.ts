import { OnboardingError } from '../errors.ts';

/** What acceptance needs to know of one X.509 certificate. */
export interface Certificate {
  readonly pem: string;
  /** One line, RFC 2253 order of the certificate */
  readonly subject: string;
  readonly commonNames: readonly string[];
  /** Subject alternative names, as text */
  readonly alternativeNames: readonly string[];
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** SHA-256 of the SubjectPublicKeyInfo, hex */
  readonly publicKey: string;
  /** May sign certificates: by its extensions, or as a version 1 certificate that has none. */
  readonly isAuthority: boolean;
  /** May be used by a TLS client: no extended key usage, or one that includes it. */
  readonly isClient: boolean;
}

export interface CertificateReader {
  /** Every certificate of a PEM text, in order. @throws {TypeError} where one is malformed or there is none */
  parseCertificates(pem: string): Certificate[];
  /** Whether `issuer`'s name and key signed `certificate`. */
  isSignedBy(certificate: Certificate, issuer: Certificate): boolean;
}

/** What a certificate is measured against. Times in milliseconds since 1970. */
export interface Expectation {
  readonly publicKey: string;
  readonly deviceId: string;
  readonly commonName: string;
  readonly now: number;
  /** The server's `Date`, where it sent one */
  readonly serverTime: number | null;
  /** PEM of the CA that is trusted already and may not be left; null: none yet, or the server proves who it is */
  readonly trusted: string | null;
}

/** Clocks that differ by less agree: the header counts whole seconds, and the answer was under way. */
export const clockSkewMs = 60_000;
const longestChain = 8;

/**
 * Accepts what the provisioning server sent, or says with the fitting code why not. Nothing is kept before.
 *
 * @returns the device's certificate
 * @throws {OnboardingError} CERTIFICATE_*, CLOCK_WRONG, PROVISIONING_ANSWER_INVALID
 */
export function acceptCertificate(
  reader: CertificateReader,
  answer: { certificate: string; caCertificate: string },
  expected: Expectation,
): Certificate {
  const [leaf, ...intermediates] = parse(reader, answer.certificate, 'certificate');
  const anchors = parse(reader, answer.caCertificate, 'caCertificate');
  if (leaf === undefined || leaf.publicKey !== expected.publicKey) {
    throw new OnboardingError(
      'CERTIFICATE_KEY_MISMATCH',
      `the certificate of ${leaf?.subject} is for another key`,
    );
  }
  if (expected.trusted !== null) checkAnchors(reader, anchors, reader.parseCertificates(expected.trusted));
  const chain = chainOf(reader, leaf, intermediates, anchors);
  if (chain === null) {
    throw new OnboardingError(
      'CERTIFICATE_UNTRUSTED',
      `the certificate of ${leaf.subject} does not chain to ${anchors.map(({ subject }) => subject).join(', ')}`,
    );
  }
  for (const certificate of chain) checkDates(certificate, expected);
  if (!leaf.isClient) {
    throw new OnboardingError(
      'CERTIFICATE_WRONG_DEVICE',
      `the certificate of ${leaf.subject} is not for a TLS client`,
    );
  }
  if (!names(leaf, expected)) {
    throw new OnboardingError(
      'CERTIFICATE_WRONG_DEVICE',
      `the certificate is of ${leaf.subject}; asked for was CN=${expected.commonName}`,
    );
  }
  return leaf;
}

function parse(reader: CertificateReader, pem: string, field: string): Certificate[] {
  try {
    return reader.parseCertificates(pem);
  } catch (cause) {
    throw new OnboardingError(
      'PROVISIONING_ANSWER_INVALID',
      `the answer’s ${field} holds no readable certificate`,
      { cause },
    );
  }
}

/** A CA may hand over to one that it signed; one that nobody vouches for may not take its place. */
function checkAnchors(
  reader: CertificateReader,
  anchors: readonly Certificate[],
  trusted: readonly Certificate[],
): void {
  const isVouchedFor = (anchor: Certificate) =>
    trusted.some((known) => known.publicKey === anchor.publicKey || reader.isSignedBy(anchor, known));
  const stranger = anchors.find((anchor) => !isVouchedFor(anchor));
  if (stranger === undefined) return;
  throw new OnboardingError(
    'CERTIFICATE_UNTRUSTED',
    `the answer brings another CA, ${stranger.subject}, which the device’s own did not sign; over http: nobody vouches for it`,
  );
}

/** @returns leaf first, anchor last; null where no path leads to an anchor */
function chainOf(
  reader: CertificateReader,
  leaf: Certificate,
  intermediates: readonly Certificate[],
  anchors: readonly Certificate[],
): Certificate[] | null {
  let paths: Certificate[][] = [[leaf]];
  for (let length = 1; length < longestChain && paths.length > 0; length++) {
    const longer: Certificate[][] = [];
    for (const path of paths) {
      const last = path[path.length - 1] ?? leaf;
      const issues = (issuer: Certificate) =>
        issuer.isAuthority && !path.includes(issuer) && reader.isSignedBy(last, issuer);
      const anchor = anchors.find(issues);
      if (anchor) return [...path, anchor];
      longer.push(...intermediates.filter(issues).map((issuer) => [...path, issuer]));
    }
    paths = longer.slice(0, 16);
  }
  return null;
}

/**
 * A certificate that is valid by one of the two clocks alone is the clock's fault, and nothing is believed that only a
 * wrong clock makes valid; one that is wrong by both, or whose server tells no time, is its own.
 */
function checkDates({ subject, notBefore, notAfter }: Certificate, { now, serverTime }: Expectation): void {
  const starts = notBefore.getTime();
  const ends = notAfter.getTime();
  const isValidAt = (time: number) => time >= starts - clockSkewMs && time <= ends;
  if (serverTime !== null && Math.abs(serverTime - now) > clockSkewMs) {
    if (isValidAt(serverTime) !== isValidAt(now)) throw clockWrong(now, serverTime);
  }
  if (isValidAt(now)) return;
  const code = now < starts ? 'CERTIFICATE_NOT_YET_VALID' : 'CERTIFICATE_EXPIRED';
  const dates = `${notBefore.toISOString()} to ${notAfter.toISOString()}`;
  throw new OnboardingError(code, `the certificate of ${subject} is valid from ${dates}`);
}

function clockWrong(now: number, serverTime: number): OnboardingError {
  const seconds = Math.round(Math.abs(serverTime - now) / 1000);
  return new OnboardingError(
    'CLOCK_WRONG',
    `this clock says ${new Date(now).toISOString()}, ${seconds} s ${now < serverTime ? 'behind' : 'ahead of'} the server’s`,
  );
}

/**
 * The subject that was asked for, or one that the CA made itself and that names this device as a whole word.
 */
function names(
  { commonNames, alternativeNames }: Certificate,
  { commonName, deviceId }: Expectation,
): boolean {
  const words = (name: string) => name.split(/[^A-Za-z0-9_-]+/);
  return (
    commonNames.includes(commonName) ||
    [...commonNames, ...alternativeNames].some((name) => words(name).includes(deviceId))
  );
}
