import {
  createHash,
  createPrivateKey,
  generateKeyPair,
  type KeyObject,
  randomBytes,
  webcrypto,
  X509Certificate,
} from 'node:crypto';
import { isIP } from 'node:net';
import { promisify } from 'node:util';
import { BitString, fromBER, Integer, OctetString, Utf8String } from 'asn1js';
import {
  AttributeTypeAndValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  Extension,
  ExtKeyUsage,
  GeneralName,
  GeneralNames,
  PublicKeyInfo,
  RelativeDistinguishedNames,
  Time,
  TimeType,
} from 'pkijs';
import { engine, readSigningRequest, type SigningRequest } from './csr.ts';

const minute = 60_000;
const day = 24 * 60 * minute;
const clientAuth = '1.3.6.1.5.5.7.3.2';
const serverAuth = '1.3.6.1.5.5.7.3.1';
const generalNameDns = 2;
const generalNameIp = 7;
const usage = { digitalSignature: 0x80, keyEncipherment: 0x20, keyCertSign: 0x04, crlSign: 0x02 };

export type AuthorityKey = 'ec-p256' | 'rsa-2048';

export interface Validity {
  /** a minute ago by default */
  notBefore?: Date;
  /** a year from now by default */
  notAfter?: Date;
}

/** All PEM. */
export interface Issued {
  certificate: string;
  /** the certificate, then the intermediate where there is one */
  chain: string;
  /** PKCS#8, only where the key pair was made here */
  key: string;
}

export interface ClientRequest extends Validity {
  /** Either this, a request already read, or a public key; without all three a key pair is made. */
  csrPem?: string;
  request?: SigningRequest;
  publicKey?: KeyObject;
  /** By default that of the request, whose whole subject is then taken over as it is. */
  commonName?: string;
  /** Extended key usages as object identifiers, client authentication by default; none leaves the extension out. */
  eku?: string[];
}

export interface Authority {
  /** the root certificate, PEM: the trust anchor */
  pem: string;
  /** the root's private key, PKCS#8 PEM */
  key: string;
  /** @throws {TypeError} where the request or its signature is bad */
  issueClient(what: ClientRequest): Promise<Issued>;
  /** A certificate with a new key for DNS names and IP addresses. */
  issueServer(what: Validity & { hosts: string[]; commonName?: string }): Promise<Issued>;
}

export interface AuthorityOptions extends Validity {
  commonName?: string;
  key?: AuthorityKey;
  /** Whether leaves are signed by an intermediate instead of by the root. */
  intermediate?: boolean;
  /** An authority that was made before, PEM, instead of a new one. */
  kept?: { pem: string; key: string };
}

interface Issuer {
  certificate: Certificate;
  signingKey: webcrypto.CryptoKey;
  /** PKCS#8 PEM */
  key: string;
  keyIdentifier: Buffer;
}

/**
 * A certificate authority in memory, valid for ten years by default. EC P-256 signs a thousand leaves in seconds.
 *
 * @throws {TypeError} where the key of one that was kept is not that of its certificate
 */
export async function createAuthority({
  commonName = 'Stand-in fleet root',
  key = 'ec-p256',
  intermediate = false,
  kept,
  notBefore = new Date(Date.now() - day),
  notAfter = new Date(Date.now() + 3650 * day),
}: AuthorityOptions = {}): Promise<Authority> {
  const validity = { notBefore, notAfter };
  const root = kept ? await keptIssuer(kept) : await createIssuer(key, commonName, validity);
  const issuer = intermediate ? await createIssuer(key, `${commonName} intermediate`, validity, root) : root;
  const between = intermediate ? pemOf(issuer.certificate) : '';

  async function issue(leaf: Omit<Leaf, 'issuer'>, privateKey?: KeyObject): Promise<Issued> {
    const certificate = pemOf(await sign({ ...leaf, issuer }));
    const pkcs8 = privateKey?.export({ type: 'pkcs8', format: 'pem' }).toString() ?? '';
    return { certificate, chain: certificate + between, key: pkcs8 };
  }

  return {
    pem: pemOf(root.certificate),
    key: root.key,
    async issueClient({ csrPem, request: read, publicKey, commonName, eku = [clientAuth], ...validity }) {
      const request = csrPem === undefined ? read : await readSigningRequest(csrPem);
      const pair = request || publicKey ? undefined : await keyPair('ec-p256');
      const subjectKey = publicKey ?? request?.publicKey ?? pair?.publicKey;
      if (subjectKey === undefined) throw new TypeError('no key to certify');
      const subject = commonName === undefined ? request?.subject : nameOf(commonName);
      if (subject === undefined) throw new TypeError('no subject to certify');
      const extensions = [
        basicConstraints(false),
        keyUsage(usage.digitalSignature),
        ...extendedKeyUsage(eku),
      ];
      return issue({ subject, publicKey: subjectKey, extensions, ...validity }, pair?.privateKey);
    },
    async issueServer({ hosts, commonName = hosts[0] ?? 'server', ...validity }) {
      const pair = await keyPair('ec-p256');
      const extensions = [
        basicConstraints(false),
        keyUsage(usage.digitalSignature | usage.keyEncipherment),
        ...extendedKeyUsage([serverAuth]),
        alternativeNames(hosts),
      ];
      const subject = nameOf(commonName);
      return issue({ subject, publicKey: pair.publicKey, extensions, ...validity }, pair.privateKey);
    },
  };
}

async function createIssuer(
  type: AuthorityKey,
  name: string,
  validity: Validity,
  parent?: Issuer,
): Promise<Issuer> {
  const pair = await keyPair(type);
  const itself = {
    certificate: new Certificate(),
    signingKey: await signingKeyOf(pair.privateKey),
    key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    keyIdentifier: keyIdentifierOf(pair.publicKey),
  };
  itself.certificate.subject = nameOf(name);
  const certificate = await sign({
    subject: itself.certificate.subject,
    publicKey: pair.publicKey,
    extensions: [basicConstraints(true), keyUsage(usage.keyCertSign | usage.crlSign)],
    issuer: parent ?? itself,
    ...validity,
  });
  return { ...itself, certificate };
}

async function keptIssuer({ pem, key }: { pem: string; key: string }): Promise<Issuer> {
  const privateKey = createPrivateKey(key);
  const certificate = new X509Certificate(pem);
  if (!certificate.checkPrivateKey(privateKey)) throw new TypeError('the key is not that of the certificate');
  return {
    certificate: new Certificate({ schema: fromBER(certificate.raw).result }),
    signingKey: await signingKeyOf(privateKey),
    key,
    keyIdentifier: keyIdentifierOf(certificate.publicKey),
  };
}

function signingKeyOf(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const algorithm =
    key.asymmetricKeyType === 'rsa'
      ? { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
      : { name: 'ECDSA', namedCurve: 'P-256' };
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  return webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']);
}

interface Leaf extends Validity {
  subject: RelativeDistinguishedNames;
  publicKey: KeyObject;
  extensions: Extension[];
  issuer: Issuer;
}

async function sign({
  subject,
  publicKey,
  extensions,
  issuer,
  notBefore,
  notAfter,
}: Leaf): Promise<Certificate> {
  const certificate = new Certificate();
  certificate.version = 2;
  certificate.serialNumber = new Integer({ valueHex: serialNumber() });
  certificate.issuer = issuer.certificate.subject;
  certificate.subject = subject;
  certificate.notBefore = timeOf(notBefore ?? new Date(Date.now() - minute));
  certificate.notAfter = timeOf(notAfter ?? new Date(Date.now() + 365 * day));
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  certificate.subjectPublicKeyInfo = new PublicKeyInfo({ schema: fromBER(spki).result });
  const keyIdentifier = keyIdentifierOf(publicKey);
  const authority = new AuthorityKeyIdentifier({
    keyIdentifier: new OctetString({ valueHex: issuer.keyIdentifier }),
  });
  certificate.extensions = [
    ...extensions,
    extension('2.5.29.14', new OctetString({ valueHex: keyIdentifier }).toBER()),
    extension('2.5.29.35', authority.toSchema().toBER()),
  ];
  await certificate.sign(issuer.signingKey, 'SHA-256', engine);
  return certificate;
}

function keyPair(type: AuthorityKey): Promise<{ publicKey: KeyObject; privateKey: KeyObject }> {
  return type === 'rsa-2048'
    ? promisify(generateKeyPair)('rsa', { modulusLength: 2048 })
    : promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
}

function nameOf(commonName: string): RelativeDistinguishedNames {
  const value = new Utf8String({ value: commonName });
  return new RelativeDistinguishedNames({
    typesAndValues: [new AttributeTypeAndValue({ type: '2.5.4.3', value })],
  });
}

/** RFC 5280, 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050 on. */
function timeOf(value: Date): Time {
  const type = value.getUTCFullYear() < 2050 ? TimeType.UTCTime : TimeType.GeneralizedTime;
  return new Time({ type, value });
}

/** 16 random bytes, positive and without a leading zero. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes;
}

function keyIdentifierOf(publicKey: KeyObject): Buffer {
  return createHash('sha1')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest();
}

function extension(extnID: string, extnValue: ArrayBuffer, critical = false): Extension {
  return new Extension({ extnID, extnValue, critical });
}

function basicConstraints(cA: boolean): Extension {
  return extension('2.5.29.19', new BasicConstraints({ cA }).toSchema().toBER(), true);
}

function keyUsage(bits: number): Extension {
  const unusedBits = Math.log2(bits & -bits);
  return extension('2.5.29.15', new BitString({ valueHex: Uint8Array.of(bits), unusedBits }).toBER(), true);
}

function extendedKeyUsage(keyPurposes: string[]): Extension[] {
  if (keyPurposes.length === 0) return [];
  return [extension('2.5.29.37', new ExtKeyUsage({ keyPurposes }).toSchema().toBER())];
}

function alternativeNames(hosts: string[]): Extension {
  const names = hosts.map((host) =>
    isIP(host) === 0
      ? new GeneralName({ type: generalNameDns, value: host })
      : new GeneralName({ type: generalNameIp, value: new OctetString({ valueHex: addressBytes(host) }) }),
  );
  return extension('2.5.29.17', new GeneralNames({ names }).toSchema().toBER());
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = address.split('::');
  const [left, right] = [head, tail].map((part) => part.split(':').filter((group) => group !== ''));
  const groups = [...(left ?? []), ...(right ?? [])];
  const gap = Array.from({ length: 8 - groups.length }, () => '0');
  const all = [...(left ?? []), ...gap, ...(right ?? [])];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}

function pemOf(certificate: Certificate): string {
  const base64 = Buffer.from(certificate.toSchema().toBER()).toString('base64');
  return `-----BEGIN CERTIFICATE-----\n${base64.replace(/.{64}(?=.)/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
}
