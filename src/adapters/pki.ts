import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  type webcrypto,
  X509Certificate,
} from 'node:crypto';
import { duplexPair } from 'node:stream';
import type { TlsOptions } from 'node:tls';
import { BitString, fromBER, ObjectIdentifier, Primitive, Sequence, Utf8String } from 'asn1js';
import {
  type AlgorithmIdentifier,
  AttributeTypeAndValue,
  BasicConstraints,
  CertificationRequest,
  CryptoEngine,
  ExtKeyUsage,
  Certificate as ParsedCertificate,
  PublicKeyInfo,
  RSASSAPSSParams,
} from 'pkijs';
import type { Certificate } from '../services/onboarding/acceptCertificate.ts';
import { isInToken, keyOf, signWith, tlsKey } from './keys/keyReference.ts';

export { generateKey } from './keyPair.ts';

const commonNameOid = '2.5.4.3';
const basicConstraintsOid = '2.5.29.19';
const keyUsageOid = '2.5.29.15';
const extendedKeyUsageOid = '2.5.29.37';
const alternativeNameOid = '2.5.29.17';
const clientAuthOid = '1.3.6.1.5.5.7.3.2';
const rsaOid = '1.2.840.113549.1.1.1';
const rsaPssOid = '1.2.840.113549.1.1.10';
const ecOid = '1.2.840.10045.2.1';
const ed25519Oid = '1.3.101.112';
const dnsNameType = 2;
const uriType = 6;

/** Critical extensions that OpenSSL enforces, so that acceptance need not reject them. */
const enforcedExtensions = new Set([
  basicConstraintsOid,
  keyUsageOid,
  extendedKeyUsageOid,
  alternativeNameOid,
  '2.5.29.30', // name constraints
  '2.5.29.31', // CRL distribution points
  '2.5.29.32', // certificate policies
  '2.5.29.33', // policy mappings
  '2.5.29.36', // policy constraints
  '2.5.29.54', // inhibit any policy
]);
const curves: Readonly<Record<string, string>> = {
  '1.2.840.10045.3.1.7': 'P-256',
  '1.3.132.0.34': 'P-384',
  '1.3.132.0.35': 'P-521',
};
const strongSignatures = new Set([
  '1.2.840.113549.1.1.11', // RSA with SHA-256
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.2.840.10045.4.3.2', // ECDSA with SHA-256
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  ed25519Oid,
]);
/** Bytes of each digest */
const strongHashes: Readonly<Record<string, number>> = {
  '2.16.840.1.101.3.4.2.1': 32, // SHA-256
  '2.16.840.1.101.3.4.2.2': 48,
  '2.16.840.1.101.3.4.2.3': 64,
};
const algorithmNames: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.1.4': 'MD5',
  '1.2.840.113549.1.1.5': 'SHA-1',
  '1.2.840.10045.4.1': 'SHA-1',
  '1.3.14.3.2.26': 'SHA-1',
  '1.3.101.113': 'Ed448',
  '1.2.840.10040.4.1': 'DSA',
  [rsaPssOid]: 'RSA-PSS',
};

/** Limits of what a server can make us parse; real chains need a tenth. */
const mostCertificates = 8;
const longestText = 64 * 1024;
const longestDer = 16 * 1024;
const longestSubject = 300;
const smallestRsaBits = 2048;
const largestRsaBits = 8192;
const largestRsaExponent = 2n ** 64n;
const verdictMs = 15_000;

/**
 * @returns SHA-256 of the key's SubjectPublicKeyInfo, hex
 * @param privateKey PEM, or a reference to a key in a token
 * @throws {Error} if the text is not an RSA or EC private key
 */
export function spkiSha256Of(privateKey: string): string {
  if (isInToken(privateKey)) return sha256(keyOf(privateKey).spki);
  const key = createPrivateKey(privateKey);
  if (key.asymmetricKeyType !== 'rsa' && key.asymmetricKeyType !== 'ec') {
    throw new TypeError(`the key is of the type ${key.asymmetricKeyType}`);
  }
  return sha256(createPublicKey(key).export({ type: 'spki', format: 'der' }));
}

/**
 * The same key as PKCS#8 PEM, from PKCS#1, SEC1 or PKCS#8 PEM.
 *
 * @throws {Error} if it is not a private key that onboardd uses: RSA of 2048 to 8192 bits, P-256 or P-384, not encrypted
 */
export function pkcs8Of(privateKeyPem: string): string {
  const key = createPrivateKey(privateKeyPem);
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  const isUsable =
    key.asymmetricKeyType === 'rsa'
      ? modulusLength >= smallestRsaBits && modulusLength <= largestRsaBits
      : key.asymmetricKeyType === 'ec' && ['prime256v1', 'secp384r1'].includes(namedCurve);
  if (!isUsable) throw new TypeError(`the key is of the type ${key.asymmetricKeyType}, or too short`);
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/**
 * A PKCS#10 request with a single CN, signed with SHA-512.
 *
 * The CN is a UTF8String of any length: the fleet's own is longer than X.520's 64 characters. The attributes are
 * present though empty: Go, Python and GnuTLS refuse a request without them (RFC 2986, 4.1).
 *
 * @param key PEM, or a reference to a key in a token
 * @returns PEM
 * @throws {OnboardingError} STATE_UNWRITABLE: the token does not sign
 */
export async function certificateRequest(key: string, commonName: string): Promise<string> {
  const { spki, curve, signData } = isInToken(key) ? keyInToken(key) : keyInMemory(key);
  const request = new CertificationRequest();
  request.version = 0;
  request.attributes = [];
  request.subject.typesAndValues.push(
    new AttributeTypeAndValue({ type: commonNameOid, value: new Utf8String({ value: commonName }) }),
  );
  request.subjectPublicKeyInfo = PublicKeyInfo.fromBER(Uint8Array.from(spki).buffer);
  const algorithm =
    curve === null
      ? { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-512' }
      : { name: 'ECDSA', namedCurve: curve as string };
  // What pkijs reads of a key that it only hands on.
  const handle = { algorithm, type: 'private', extractable: false, usages: ['sign'] };
  await request.sign(handle as webcrypto.CryptoKey, 'SHA-512', new Signer(signData));
  const der = Buffer.from(request.toSchema().toBER());
  return toPem('CERTIFICATE REQUEST', der);
}

interface SigningKey {
  readonly spki: Buffer;
  /** Null: an RSA key */
  readonly curve: string | null;
  /** With SHA-512; of an EC key both numbers one behind the other, as WebCrypto has it */
  readonly signData: (data: Buffer) => Buffer | Promise<Buffer>;
}

function keyInMemory(pem: string): SigningKey {
  const key = createPrivateKey(pem);
  const isRsa = key.asymmetricKeyType === 'rsa';
  return {
    spki: createPublicKey(key).export({ type: 'spki', format: 'der' }),
    curve: isRsa ? null : key.asymmetricKeyDetails?.namedCurve === 'secp384r1' ? 'P-384' : 'P-256',
    signData: (data) => sign('sha512', data, isRsa ? key : { key, dsaEncoding: 'ieee-p1363' }),
  };
}

/** A key in a token is known by its public half; what it signs, its token signs. */
function keyInToken(reference: string): SigningKey {
  const { spki, curve } = keyOf(reference);
  return { spki, curve, signData: (data) => signWith(reference, data) };
}

/** The only operation of pkijs's engine that is used: WebCrypto, which it wraps, takes milliseconds to load. */
class Signer extends CryptoEngine {
  readonly #signData: SigningKey['signData'];

  constructor(signData: SigningKey['signData']) {
    super({ name: 'onboardd', crypto: { subtle: {} } as unknown as typeof webcrypto });
    this.#signData = signData;
  }

  override async sign(...[, , data]: Parameters<CryptoEngine['sign']>): Promise<ArrayBuffer> {
    const bytes = ArrayBuffer.isView(data)
      ? Buffer.from(data.buffer, data.byteOffset, data.byteLength)
      : Buffer.from(data);
    return Uint8Array.from(await this.#signData(bytes)).buffer;
  }
}

/**
 * All certificates of a PEM text; other text around the blocks is ignored.
 *
 * @throws {TypeError} if one is malformed, or there are none or too many
 */
export function parseCertificates(pem: string): Certificate[] {
  const known = lastParsed.get(pem);
  if (known !== undefined) return [...known];
  const certificates = parseAll(pem);
  const [oldest] = lastParsed.keys();
  if (lastParsed.size === mostParsed && oldest !== undefined) lastParsed.delete(oldest);
  lastParsed.set(pem, certificates);
  return [...certificates];
}

/** A cache: each step and each `status` parses the device's own certificate and CA. */
const mostParsed = 4;
const lastParsed = new Map<string, readonly Certificate[]>();

function parseAll(pem: string): Certificate[] {
  if (pem.length > longestText) throw new TypeError(`more than ${longestText} characters`);
  const blocks = [
    ...pem.matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g),
  ];
  const begun = pem.split('-----BEGIN CERTIFICATE-----').length - 1;
  if (blocks.length === 0 || blocks.length !== begun) throw new TypeError('no whole PEM certificate');
  if (blocks.length > mostCertificates) throw new TypeError(`more than ${mostCertificates} certificates`);
  return blocks.map(([, base64 = '']) => parseCertificate(base64.replace(/\s+/g, '')));
}

function parseCertificate(base64: string): Certificate {
  if (base64.length > (longestDer / 3) * 4)
    throw new TypeError(`a certificate of more than ${longestDer} bytes`);
  try {
    return readCertificate(Buffer.from(base64, 'base64'));
  } catch (cause) {
    throw new TypeError('a malformed certificate', { cause });
  }
}

interface Native {
  readonly x509: X509Certificate;
  readonly publicKey: KeyObject | null;
}

/** OpenSSL's parsed form of each certificate, for signature checks. */
const natives = new WeakMap<Certificate, Native>();

function readCertificate(der: Buffer): Certificate {
  const x509 = new X509Certificate(der);
  const { raw, issuer } = x509;
  const { result, offset } = fromBER(raw);
  if (offset === -1) throw new TypeError('no DER');
  const parsed = new ParsedCertificate({ schema: result });
  const version = parsed.version + 1;
  const extensions = readExtensions(parsed, version);
  const subjectName = x509.subject ?? '';
  const shown = subjectName.replaceAll('\n', ', ');
  const key = readKey(x509, parsed);
  const certificate: Certificate = {
    pem: toPem('CERTIFICATE', raw),
    fingerprint: sha256(raw),
    serial: x509.serialNumber,
    subject: shown.length > longestSubject ? `${shown.slice(0, longestSubject - 1)}…` : shown,
    subjectName,
    issuerName: issuer ?? '',
    commonNames: parsed.subject.typesAndValues
      .filter(({ type }) => type === commonNameOid)
      .map(({ value }) => String(value.valueBlock.value)),
    notBefore: date(x509.validFrom),
    notAfter: date(x509.validTo),
    spkiSha256: key.sha256,
    keyFault: key.fault,
    signatureFault: signatureFaultOf(parsed.signatureAlgorithm),
    version,
    ...extensions,
  };
  natives.set(certificate, { x509, publicKey: key.fault === null ? x509.publicKey : null });
  return certificate;
}

/** Keys of other types are not decoded: their parameters can make that costly. */
function readKey(
  x509: X509Certificate,
  { subjectPublicKeyInfo }: ParsedCertificate,
): { sha256: string; fault: string | null } {
  const { algorithmId, algorithmParams } = subjectPublicKeyInfo.algorithm;
  const curve = algorithmParams instanceof ObjectIdentifier ? algorithmParams.valueBlock.toString() : '';
  const isSupported =
    algorithmId === rsaOid ||
    algorithmId === ed25519Oid ||
    (algorithmId === ecOid && Object.hasOwn(curves, curve));
  if (!isSupported) {
    const kind = algorithmId === ecOid ? 'EC key of an unsupported curve' : `${nameOf(algorithmId)} key`;
    const der = Buffer.from(subjectPublicKeyInfo.toSchema().toBER());
    return { sha256: sha256(der), fault: `an unsupported key: ${kind}` };
  }
  const { publicKey } = x509;
  return {
    sha256: sha256(publicKey.export({ type: 'spki', format: 'der' })),
    fault: algorithmId === rsaOid ? rsaFault(publicKey) : null,
  };
}

/** The limit of the exponent bounds the cost of a check: OpenSSL enforces one only from 3072 bits on. */
function rsaFault({ asymmetricKeyDetails: { modulusLength = 0, publicExponent = 0n } = {} }: KeyObject) {
  if (modulusLength < smallestRsaBits || modulusLength > largestRsaBits)
    return `an RSA key of ${modulusLength} bits, not ${smallestRsaBits} to ${largestRsaBits}`;
  if (publicExponent < 3n || publicExponent % 2n === 0n || publicExponent > largestRsaExponent)
    return 'an RSA key with an unsound public exponent';
  return null;
}

function signatureFaultOf({ algorithmId, algorithmParams }: AlgorithmIdentifier): string | null {
  if (strongSignatures.has(algorithmId)) return null;
  if (algorithmId !== rsaPssOid) return nameOf(algorithmId);
  return pssFaultOf(new RSASSAPSSParams({ schema: algorithmParams }));
}

/** TLS 1.3 has RSA-PSS only with one digest and a salt of its length (RFC 8446, 4.2.3), and servers in Go take no other. */
function pssFaultOf({ hashAlgorithm, maskGenAlgorithm, saltLength }: RSASSAPSSParams): string | null {
  const digest = hashAlgorithm.algorithmId;
  const length = Object.hasOwn(strongHashes, digest) ? strongHashes[digest] : undefined;
  if (length === undefined) return `RSA-PSS and ${nameOf(digest)}`;
  const mask = maskGenAlgorithm.algorithmParams;
  const maskDigest = mask instanceof Sequence ? mask.valueBlock.value[0] : null;
  if (!(maskDigest instanceof ObjectIdentifier) || maskDigest.valueBlock.toString() !== digest)
    return 'RSA-PSS and two different digests';
  return saltLength === length ? null : `RSA-PSS and a salt of ${saltLength} bytes, not ${length}`;
}

function nameOf(oid: string): string {
  return algorithmNames[oid] ?? `the algorithm ${oid}`;
}

/** @throws {TypeError} if an extension that matters is malformed, or any occurs twice (RFC 5280, 4.2) */
function readExtensions({ extensions = [] }: ParsedCertificate, version: number) {
  const ids = extensions.map(({ extnID }) => extnID);
  if (new Set(ids).size !== ids.length) throw new TypeError('an extension twice');
  if (version < 3 && ids.length > 0) throw new TypeError(`extensions in version ${version}`);
  const read = <T>(id: string, type: new () => T): T | null => {
    const extension = extensions.find(({ extnID }) => extnID === id);
    if (extension === undefined) return null;
    const value: unknown = extension.parsedValue;
    if (!(value instanceof type) || (value as { parsingError?: string }).parsingError)
      throw new TypeError(`a malformed extension ${id}`);
    return value;
  };
  const constraints = read(basicConstraintsOid, BasicConstraints);
  const usage = read(keyUsageOid, BitString);
  const [usageBits = 0] = usage?.valueBlock.valueHexView ?? [];
  const purposes = read(extendedKeyUsageOid, ExtKeyUsage)?.keyPurposes;
  const names = extensions.find(({ extnID }) => extnID === alternativeNameOid);
  return {
    basicConstraints: constraints && {
      isAuthority: constraints.cA,
      pathLength: pathLengthOf(constraints.pathLenConstraint),
    },
    // Bits 0 and 5 of the BIT STRING (RFC 5280, 4.2.1.3)
    keyUsage: usage && {
      digitalSignature: (usageBits & 0b1000_0000) !== 0,
      keyCertSign: (usageBits & 0b0000_0100) !== 0,
    },
    isForClients: purposes === undefined || purposes.includes(clientAuthOid),
    ...readNames(names?.extnValue.valueBlock.valueHexView),
    extensionsSha256: digestOf(extensions),
    unknownCriticalExtensions: extensions
      .filter(({ critical, extnID }) => critical && !enforcedExtensions.has(extnID))
      .map(({ extnID }) => extnID),
  };
}

/** Digest of the extensions in any order: certificates with the same digest differ only in dates and serial number. */
function digestOf(extensions: NonNullable<ParsedCertificate['extensions']>): string {
  const texts = extensions.map(
    ({ extnID, critical, extnValue }) =>
      `${extnID} ${critical} ${Buffer.from(extnValue.valueBlock.valueHexView).toString('hex')}`,
  );
  return sha256(Buffer.from(texts.sort().join('\n')));
}

/** Parsed here because pkijs takes 140 ms for a thousand names. @param der GeneralNames (RFC 5280, 4.2.1.6) */
function readNames(der: Uint8Array | undefined): { dnsNames: string[]; uris: string[] } {
  if (der === undefined) return { dnsNames: [], uris: [] };
  const { result } = fromBER(der);
  if (!(result instanceof Sequence)) throw new TypeError('malformed alternative names');
  // Context-specific tags, of which these types hold an IA5String
  const namesOf = (type: number) =>
    result.valueBlock.value
      .filter((name) => name instanceof Primitive)
      .filter(({ idBlock }) => idBlock.tagClass === 3 && idBlock.tagNumber === type)
      .map(({ valueBlock }) => Buffer.from(valueBlock.valueHexView).toString('latin1'));
  return { dnsNames: namesOf(dnsNameType), uris: namesOf(uriType) };
}

/** A number of more than 32 bits counts as no limit. */
function pathLengthOf(length: BasicConstraints['pathLenConstraint']): number | null {
  if (length === undefined) return null;
  return typeof length === 'number' ? length : Number.MAX_SAFE_INTEGER;
}

/** Whether `issuer`'s name and key signed `certificate`. A key with a fault is not used. */
export function isSignedBy(certificate: Certificate, issuer: Certificate): boolean {
  const child = nativeOf(certificate).x509;
  const { x509: parent, publicKey } = nativeOf(issuer);
  if (publicKey === null || child.issuer !== parent.subject) return false;
  try {
    return child.checkIssued(parent) && child.verify(publicKey);
  } catch {
    return false;
  }
}

function nativeOf(certificate: Certificate): Native {
  const native = natives.get(certificate);
  if (native === undefined) throw new TypeError('a certificate of another reader');
  return native;
}

/**
 * Lets OpenSSL verify a chain, by a TLS handshake with ourselves over two streams in memory: the server requests the
 * client's certificate and trusts only the chain's anchor. Level 2 rejects keys and signatures of less than 112 bits.
 * Dates are not checked: Node offers no way to set the time.
 *
 * @param chain leaf first, trust anchor last
 * @param key private key of the leaf, PEM, or a reference to it in a token
 * @returns OpenSSL's reason to refuse it; null: accepted
 * @throws {OnboardingError} STATE_UNWRITABLE: the token is away; if no verdict is reached in time; `signal`'s reason
 */
export async function verifyAsTlsClient(
  chain: readonly Certificate[],
  key: string,
  signal: AbortSignal,
): Promise<string | null> {
  const tls = await import('node:tls');
  signal.throwIfAborted();
  const presented = chain
    .slice(0, -1)
    .map(({ pem }) => pem)
    .join('');
  const own = tlsKey(key);
  const [near, far] = duplexPair();
  const cleanUp: (() => void)[] = [() => near.destroy(), () => far.destroy()];
  const ignoreError = () => {};
  try {
    return await new Promise<string | null>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('OpenSSL gave no verdict in time')), verdictMs);
      const onAbort = () => reject(signal.reason);
      signal.addEventListener('abort', onAbort);
      cleanUp.push(
        () => clearTimeout(timer),
        () => signal.removeEventListener('abort', onAbort),
      );
      near.on('error', ignoreError);
      far.on('error', ignoreError);
      const common = {
        ciphers: 'DEFAULT:@SECLEVEL=2',
        minVersion: 'TLSv1.3',
        rejectUnauthorized: false,
      } as const;
      // A server takes allowPartialTrustChain only from a context, and a context only from SNI.
      const trusting = { ...own, cert: chain[0]?.pem, ca: chain.at(-1)?.pem, allowPartialTrustChain: true };
      const context = tls.createSecureContext({ ...common, ...trusting });
      const SNICallback: TlsOptions['SNICallback'] = (_, give) => give(null, context);
      const server = tls.createServer({ ...common, requestCert: true, SNICallback });
      server.on('secureConnection', (socket) => {
        cleanUp.push(() => socket.destroy());
        socket.on('error', ignoreError);
        resolve(verdictOf(socket.authorized, socket.authorizationError));
      });
      server.on('tlsClientError', (error) => resolve(reasonOf(error)));
      server.emit('connection', near);
      const client = tls.connect({ ...common, ...own, cert: presented, servername: 'itself', socket: far });
      cleanUp.push(() => client.destroy());
      client.on('error', (error) => resolve(reasonOf(error)));
    });
  } catch (error) {
    // A context that OpenSSL refuses to build counts as a rejection.
    if (isOpenSslError(error)) return reasonOf(error);
    throw error;
  } finally {
    for (const clean of cleanUp) clean();
  }
}

/** Once is enough: a device asks again and again in an outage. */
let prepared: Promise<void> | null = null;

/**
 * Makes what every first TLS context makes: the runtime parses its own list of CA certificates for it, even where it is not
 * used. For a moment in which there is nothing else to do.
 */
export function prepareTls(): Promise<void> {
  prepared ??= import('node:tls').then((tls) => void tls.createSecureContext());
  return prepared;
}

/** @param error typed as an Error, but in fact the verifier's code */
function verdictOf(isAuthorized: boolean, error: Error | string | null): string | null {
  const code = typeof error === 'string' ? error : (error?.message ?? 'UNSPECIFIED');
  if (isAuthorized || code === 'CERT_NOT_YET_VALID' || code === 'CERT_HAS_EXPIRED') return null;
  return code === 'UNSPECIFIED'
    ? 'a rule of X.509 that has no code of its own, such as name constraints'
    : code;
}

function reasonOf(error: Error & { reason?: unknown }): string {
  return typeof error.reason === 'string' ? error.reason : error.message;
}

function isOpenSslError(error: unknown): error is Error {
  return error instanceof Error && /^ERR_(OSSL|SSL)_/.test(String((error as NodeJS.ErrnoException).code));
}

function date(text: string): Date {
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw new TypeError(`no date: ${text}`);
  return new Date(time);
}

function sha256(der: Buffer): string {
  return createHash('sha256').update(der).digest('hex');
}

function toPem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
