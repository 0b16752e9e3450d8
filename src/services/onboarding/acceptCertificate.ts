import { OnboardingError } from '../../errors/onboardingError.ts';
import { formatDuration } from '../../text/duration.ts';

/** The facts of an X.509 certificate that acceptance needs. */
export interface Certificate {
  /** One canonical PEM block, re-encoded from the DER */
  readonly pem: string;
  /** SHA-256 of the DER, lower-case hex */
  readonly fingerprint: string;
  /** Serial number, upper-case hex, as `openssl x509 -serial` prints it */
  readonly serial: string;
  /** One line for people, RFC 2253 order of the certificate, at most 300 characters */
  readonly subject: string;
  /** Subject and issuer in full: equal texts are the same name. */
  readonly subjectName: string;
  readonly issuerName: string;
  readonly commonNames: readonly string[];
  /** Subject alternative names of the types dNSName and uniformResourceIdentifier */
  readonly dnsNames: readonly string[];
  readonly uris: readonly string[];
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** SHA-256 of the SubjectPublicKeyInfo, hex */
  readonly spkiSha256: string;
  /** Why the key may not be used ("a 1024-bit RSA key"); null: RSA of 2048 to 8192 bits, P-256, P-384, P-521, Ed25519 */
  readonly keyFault: string | null;
  /** Why its signature may not be trusted ("MD5"); null: RSA, RSA-PSS (with one digest, and a salt of its length) or ECDSA with SHA-256 to SHA-512, Ed25519 */
  readonly signatureFault: string | null;
  /** 1 to 3 */
  readonly version: number;
  /** null: the certificate does not have the extension */
  readonly basicConstraints: { readonly isAuthority: boolean; readonly pathLength: number | null } | null;
  readonly keyUsage: { readonly digitalSignature: boolean; readonly keyCertSign: boolean } | null;
  /** Whether its extended key usage, if it has one, includes TLS clients. */
  readonly isForClients: boolean;
  /** SHA-256 of all extensions, hex */
  readonly extensionsSha256: string;
  /** Object identifiers of critical extensions that are not supported */
  readonly unknownCriticalExtensions: readonly string[];
}

export interface CertificateReader {
  /** All certificates of a PEM text, in order. @throws {TypeError} if one is malformed, or there are none or too many */
  parseCertificates(pem: string): Certificate[];
  /** Whether `issuer`'s name and key signed `certificate`; costly. False for an issuer with a `keyFault`. */
  isSignedBy(certificate: Certificate, issuer: Certificate): boolean;
}

export interface KeyReader {
  /** @returns SHA-256 of the SubjectPublicKeyInfo, hex. @throws if the text is not a private key */
  spkiSha256Of(privateKeyPem: string): string;
}

export interface CertificateVerifier extends CertificateReader {
  /**
   * Lets OpenSSL judge a TLS client that presents this chain. Dates are not judged.
   *
   * @param chain leaf first, trust anchor last
   * @param key private key of the leaf
   * @returns OpenSSL's reason to refuse it; null: accepted
   * @throws if no verdict is reached in time, or `signal`'s reason
   */
  verifyAsTlsClient(chain: readonly Certificate[], key: string, signal: AbortSignal): Promise<string | null>;
}

/** The expectations of a certificate. Times in milliseconds since 1970. */
export interface Expectation {
  /** The device's private key, PEM, and the SHA-256 of the SubjectPublicKeyInfo of its public one, hex */
  readonly key: string;
  readonly spkiSha256: string;
  readonly deviceId: string;
  readonly commonName: string;
  readonly now: number;
  /** The server's `Date`, if it sent one */
  readonly serverTime: number | null;
  /** PEM of the pinned CA; null: none yet, or the server is authenticated */
  readonly trusted: string | null;
  /** Fingerprints of the only CA certificates that the answer may bring; then `trusted` is not consulted. null: any */
  readonly fleetCa: readonly string[] | null;
  /** The certificate that the new one replaces: it must have been issued later, or end later. Null: the first */
  readonly renews: Pick<Certificate, 'notBefore' | 'notAfter'> | null;
}

/** The accepted part of an answer: the texts are canonical PEM, each certificate once, in the answer's order, the leaf first. */
export interface Accepted {
  readonly leaf: Certificate;
  /** The first end of the certificates on the leaf's path: a CA may end before what it issued, and takes it along. */
  readonly usableUntil: Date;
  readonly certificate: string;
  readonly caCertificate: string;
}

/** Clocks that differ by less agree: the header counts whole seconds, and the answer takes time to arrive. */
export const clockSkewMs = 60_000;
const longestChain = 8;
const mostSignatureChecks = 32;
const mostVerdicts = 4;
/** A hundred years, however a CA counts them, and whether or not it dates its certificates back. */
const longestValidityMs = 36_600 * 86_400_000;

/**
 * Accepts an answer of the provisioning server, or throws with a code. Stores nothing.
 *
 * The explicit rules come first because their messages are clearer; OpenSSL decides last.
 * `docs/decisions/0007-accepted-certificates.md` lists them.
 *
 * @throws {OnboardingError} CERTIFICATE_*, CLOCK_WRONG, PROVISIONING_ANSWER_INVALID
 * @throws the signal's reason
 */
export async function acceptCertificate(
  verifier: CertificateVerifier,
  answer: { certificate: string; caCertificate: string },
  expected: Expectation,
  signal: AbortSignal,
): Promise<Accepted> {
  const sent = parse(verifier, answer.certificate, 'certificate');
  const anchors = parse(verifier, answer.caCertificate, 'caCertificate');
  const leaf = sent.find(({ spkiSha256 }) => spkiSha256 === expected.spkiSha256);
  if (leaf === undefined) {
    throw new OnboardingError(
      'CERTIFICATE_KEY_MISMATCH',
      `the certificate of ${sent[0]?.subject} is for another key`,
    );
  }
  // TLS wants the device's own first; some CAs send it last.
  const intermediates = sent.filter((certificate) => certificate !== leaf);
  const chain = [leaf, ...intermediates];
  const signs = countedSignatures(verifier);
  checkAnchors(verifier, signs, anchors, expected);
  const faults: string[] = [];
  const refusals: unknown[] = [];
  let verdicts = 0;
  for (const path of pathsOf(signs, [leaf, ...intermediates], anchors, faults)) {
    try {
      checkPath(path, expected);
    } catch (error) {
      refusals.push(error);
      continue;
    }
    const verdict = await verdictOf(verifier, path, expected.key, signal);
    if (verdict === null) {
      const usableUntil = new Date(Math.min(...path.map(({ notAfter }) => notAfter.getTime())));
      return { leaf, usableUntil, certificate: pemOf(chain), caCertificate: pemOf(anchors) };
    }
    refusals.push(untrusted(`OpenSSL rejects the certificate of ${leaf.subject}: ${verdict}`));
    if (++verdicts === mostVerdicts) break;
  }
  if (refusals.length > 0) throw refusals[0];
  const reasons = [anchors.map(({ subject }) => subject).join(', '), ...faults];
  throw untrusted(`the certificate of ${leaf.subject} does not chain to ${reasons.join('; ')}`);
}

function parse(reader: CertificateReader, pem: string, field: string): Certificate[] {
  try {
    const certificates = reader.parseCertificates(pem);
    return certificates.filter(
      ({ fingerprint }, index) =>
        certificates.findIndex((other) => other.fingerprint === fingerprint) === index,
    );
  } catch (cause) {
    const reason = cause instanceof TypeError ? `: ${cause.message}` : '';
    throw new OnboardingError(
      'PROVISIONING_ANSWER_INVALID',
      `the answer's ${field} is not a readable certificate${reason}`,
      { cause },
    );
  }
}

function pemOf(certificates: readonly Certificate[]): string {
  return certificates.map(({ pem }) => pem).join('');
}

function untrusted(message: string): OnboardingError {
  return new OnboardingError('CERTIFICATE_UNTRUSTED', message);
}

type Signs = (issuer: Certificate, certificate: Certificate) => boolean;

/**
 * `isSignedBy`, once for each pair and with a limit: an answer decides how many certificates share a name, and every check
 * blocks the process.
 *
 * @throws {OnboardingError} PROVISIONING_ANSWER_INVALID
 */
function countedSignatures(reader: CertificateReader): Signs {
  const known = new Map<string, boolean>();
  return (issuer, certificate) => {
    if (issuer.keyFault !== null || issuer.subjectName !== certificate.issuerName) return false;
    const pair = `${issuer.fingerprint} ${certificate.fingerprint}`;
    const seen = known.get(pair);
    if (seen !== undefined) return seen;
    if (known.size === mostSignatureChecks) {
      throw new OnboardingError(
        'PROVISIONING_ANSWER_INVALID',
        `the answer's certificates need more than ${mostSignatureChecks} signature checks`,
      );
    }
    const signed = reader.isSignedBy(certificate, issuer);
    known.set(pair, signed);
    return signed;
  };
}

/** All of the answer's anchors become trusted for TLS with NATS, whether the device's chain needs them or not. */
function checkAnchors(
  reader: CertificateReader,
  signs: Signs,
  anchors: readonly Certificate[],
  { spkiSha256, trusted, fleetCa }: Expectation,
): void {
  const known = fleetCa === null && trusted !== null ? parseTrusted(reader, trusted) : null;
  for (const anchor of anchors) {
    const { subject, fingerprint } = anchor;
    if (anchor.spkiSha256 === spkiSha256) throw untrusted(`the CA ${subject} has the device's own key`);
    const fault = keyFaultOf(anchor) ?? (isVersion1Root(anchor, signs) ? null : authorityFault(anchor));
    if (fault !== null) throw untrusted(`the CA ${subject} ${fault}`);
    if (fleetCa !== null && !fleetCa.includes(fingerprint))
      throw untrusted(`the CA ${subject} is not the fleet's: its SHA-256 fingerprint is ${fingerprint}`);
    if (
      known !== null &&
      !known.some((ca) => isSameCa(anchor, ca, signs) || isSuccessor(anchor, ca, signs))
    ) {
      throw untrusted(
        `the answer brings another CA, ${subject}, which the device's CA did not sign; over http: it cannot be verified`,
      );
    }
  }
}

/** Whether the accepted CA is still allowed by the configuration. @param pem of the CA */
export function isFleetCa(
  reader: CertificateReader,
  pem: string,
  fleetCa: readonly string[] | null,
): boolean {
  if (fleetCa === null) return true;
  try {
    return reader.parseCertificates(pem).every(({ fingerprint }) => fleetCa.includes(fingerprint));
  } catch {
    return false;
  }
}

function parseTrusted(reader: CertificateReader, pem: string): Certificate[] {
  try {
    return reader.parseCertificates(pem);
  } catch (cause) {
    throw new OnboardingError('STATE_CORRUPT', 'the CA certificate in the state cannot be read', { cause });
  }
}

/**
 * Whether a certificate is the known one, or was reissued for the same key and name: by the CA itself or by its issuer,
 * with the same extensions. Otherwise anybody could drop the name constraints of a known certificate.
 */
function isSameCa(anchor: Certificate, known: Certificate, signs: Signs): boolean {
  if (anchor.fingerprint === known.fingerprint) return true;
  const hasSameName = anchor.spkiSha256 === known.spkiSha256 && anchor.subjectName === known.subjectName;
  if (!hasSameName || anchor.signatureFault !== null) return false;
  const isReissued =
    anchor.version === known.version &&
    anchor.issuerName === known.issuerName &&
    anchor.extensionsSha256 === known.extensionsSha256;
  return isReissued || signs(known, anchor);
}

/** A CA may be replaced by one that it signed, if it may sign CAs at all. */
function isSuccessor(anchor: Certificate, known: Certificate, signs: Signs): boolean {
  return (
    anchor.version === 3 &&
    anchor.signatureFault === null &&
    anchor.unknownCriticalExtensions.length === 0 &&
    known.basicConstraints?.pathLength !== 0 &&
    signs(known, anchor)
  );
}

/** A root certificate of version 1, which has no extension to say that it is a CA. */
function isVersion1Root(certificate: Certificate, signs: Signs): boolean {
  return certificate.version === 1 && signs(certificate, certificate);
}

/** Why it may not issue certificates; null: it may. RFC 5280, 4.2.1.3: without a key usage any is allowed. */
function authorityFault(certificate: Certificate): string | null {
  const { version, basicConstraints, keyUsage } = certificate;
  if (version !== 3 || basicConstraints?.isAuthority !== true) return 'is not a CA by its basic constraints';
  if (keyUsage?.keyCertSign === false) return 'has a key usage that does not allow it to sign certificates';
  return keyFaultOf(certificate);
}

function keyFaultOf({ keyFault }: Certificate): string | null {
  return keyFault === null ? null : `has ${keyFault}`;
}

/**
 * Paths from the leaf to an anchor, shortest first, leaf first and anchor last.
 *
 * @param faults collects why certificates with an issuer's name were rejected
 */
function* pathsOf(
  signs: Signs,
  [leaf, ...intermediates]: readonly [Certificate, ...Certificate[]],
  anchors: readonly Certificate[],
  faults: string[],
): Generator<Certificate[]> {
  const ends = new Set(anchors.map(({ fingerprint }) => fingerprint));
  const usable = intermediates.filter((intermediate) => {
    if (ends.has(intermediate.fingerprint)) return false;
    const fault = authorityFault(intermediate);
    if (fault !== null) faults.push(`${intermediate.subject} ${fault}`);
    return fault === null;
  });
  let paths: Certificate[][] = [[leaf]];
  for (let length = 1; length < longestChain && paths.length > 0; length++) {
    const longer: Certificate[][] = [];
    for (const path of paths) {
      const last = path[path.length - 1] ?? leaf;
      for (const anchor of anchors) if (signs(anchor, last)) yield [...path, anchor];
      for (const issuer of usable)
        if (!path.includes(issuer) && signs(issuer, last)) longer.push([...path, issuer]);
    }
    paths = longer.slice(0, 16);
  }
}

/**
 * The explicit rules. OpenSSL checks those on extensions and algorithms too, but an error about a date hides them (the
 * last error wins), and most of them have no name there.
 *
 * @throws {OnboardingError} CERTIFICATE_*, CLOCK_WRONG
 */
function checkPath(path: readonly Certificate[], expected: Expectation): void {
  for (const [index, certificate] of path.entries()) {
    const fault = pathFault(certificate, path.slice(1, index), index === path.length - 1);
    if (fault !== null) throw untrusted(`the certificate of ${certificate.subject} ${fault}`);
  }
  for (const certificate of path) checkDates(certificate, expected);
  const [leaf] = path;
  if (leaf !== undefined) checkLeaf(leaf, expected);
}

/**
 * @param below the CAs between it and the leaf
 * @returns what is wrong with a certificate as part of a path, leaf or CA; null: nothing
 */
function pathFault(
  certificate: Certificate,
  below: readonly Certificate[],
  isAnchor: boolean,
): string | null {
  const { unknownCriticalExtensions, signatureFault, basicConstraints, isForClients } = certificate;
  if (unknownCriticalExtensions.length > 0)
    return `has an unknown critical extension, ${unknownCriticalExtensions[0]}`;
  // An anchor is trusted without its own signature, which may use any algorithm.
  if (!isAnchor && signatureFault !== null) return `is signed with ${signatureFault}`;
  if (basicConstraints?.isAuthority && !isForClients)
    return 'has an extended key usage that does not allow TLS clients';
  const most = basicConstraints?.isAuthority ? basicConstraints.pathLength : null;
  // RFC 5280, 4.2.1.9: self-issued certificates, as at a change of keys, do not count.
  const counted = below.filter(({ subjectName, issuerName }) => subjectName !== issuerName).length;
  if (most !== null && counted > most) return `allows ${most} CAs below it; there are ${counted}`;
  return keyFaultOf(certificate);
}

/** @throws {OnboardingError} CERTIFICATE_WRONG_DEVICE, CERTIFICATE_EXPIRED */
function checkLeaf(leaf: Certificate, { deviceId, commonName, renews }: Expectation): void {
  const refuse = (what: string) => {
    throw new OnboardingError('CERTIFICATE_WRONG_DEVICE', `the certificate of ${leaf.subject} ${what}`);
  };
  if (leaf.basicConstraints?.isAuthority) refuse('is a CA certificate');
  if (leaf.keyUsage?.digitalSignature === false)
    refuse('has a key usage without digitalSignature, which a TLS client needs');
  if (!leaf.isForClients) refuse('is not for a TLS client');
  if (leaf.notAfter.getTime() - leaf.notBefore.getTime() > longestValidityMs)
    refuse('is valid for more than 100 years');
  if (!identifiesDevice(leaf, commonName, deviceId))
    refuse(`does not name this device; the request asked for CN=${commonName}`);
  if (renews !== null && leaf.notAfter <= renews.notAfter && leaf.notBefore <= renews.notBefore) {
    const dates = `it ends at ${leaf.notAfter.toISOString()}, the current one at ${renews.notAfter.toISOString()}`;
    throw new OnboardingError(
      'CERTIFICATE_EXPIRED',
      `the answer replays an old certificate of ${leaf.subject}: ${dates}`,
    );
  }
}

/**
 * Whether the names are the requested ones, or those of a CA that rewrites subjects: a common name with the id, with or
 * without the text around it in the requested common name; a host name whose first label is the id; a URI whose path ends
 * in the id.
 */
function identifiesDevice(
  { commonNames, dnsNames, uris }: Certificate,
  commonName: string,
  deviceId: string,
): boolean {
  const segments = commonName.split('/');
  const at = segments.lastIndexOf(deviceId);
  const tails = [deviceId, `${deviceId}/registration_agent`];
  if (at !== -1) tails.push(segments.slice(at).join('/'));
  const wanted = new Set([commonName, ...tails]);
  if (at !== -1) wanted.add(segments.slice(0, at + 1).join('/'));
  const label = deviceId.toLowerCase();
  return (
    commonNames.some((name) => name !== '' && wanted.has(name)) ||
    dnsNames.some((name) => name.toLowerCase().split('.')[0] === label) ||
    uris.some((uri) => tails.some((tail) => uriPath(uri)?.endsWith(`/${tail}`)))
  );
}

function uriPath(uri: string): string | null {
  return URL.canParse(uri) ? new URL(uri).pathname : null;
}

/** @throws {OnboardingError} CERTIFICATE_UNTRUSTED, transient, if OpenSSL gives no verdict; STATE_UNWRITABLE; else the signal's reason */
async function verdictOf(
  verifier: CertificateVerifier,
  path: readonly Certificate[],
  key: string,
  signal: AbortSignal,
): Promise<string | null> {
  try {
    return await verifier.verifyAsTlsClient(path, key, signal);
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof OnboardingError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new OnboardingError(
      'CERTIFICATE_UNTRUSTED',
      `the certificate of ${path[0]?.subject} could not be verified: ${reason}`,
      { cause, class: 'transient' },
    );
  }
}

/**
 * If a certificate is valid by only one of the two clocks, the error is CLOCK_WRONG, so that a wrong clock makes nothing
 * valid. If it is invalid by both, or the server sent no time, the certificate is at fault.
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
  const apart = formatDuration(Math.abs(serverTime - now));
  return new OnboardingError(
    'CLOCK_WRONG',
    `this clock says ${new Date(now).toISOString()}, ${apart} ${now < serverTime ? 'behind' : 'ahead of'} the server's`,
  );
}
