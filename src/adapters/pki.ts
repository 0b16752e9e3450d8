import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  webcrypto,
  X509Certificate,
} from 'node:crypto';
import { promisify } from 'node:util';
import { fromBER, Utf8String } from 'asn1js';
import {
  AttributeTypeAndValue,
  BasicConstraints,
  CertificationRequest,
  CryptoEngine,
  ExtKeyUsage,
  Certificate as ParsedCertificate,
} from 'pkijs';
import type { KeyType } from '../config.ts';
import type { Certificate } from '../services/acceptCertificate.ts';

const commonNameOid = '2.5.4.3';
const basicConstraintsOid = '2.5.29.19';
const keyUsageOid = '2.5.29.15';
const extendedKeyUsageOid = '2.5.29.37';
const clientAuthOid = '1.3.6.1.5.5.7.3.2';
const anyUsageOid = '2.5.29.37.0';
const mostCertificates = 32;

const engine = new CryptoEngine({ name: 'node', crypto: webcrypto });

/** @returns a new private key, PKCS#8 PEM */
export async function generateKey(type: KeyType): Promise<string> {
  const [family, size] = type.split('-');
  const { privateKey } =
    family === 'rsa'
      ? await promisify(generateKeyPair)('rsa', { modulusLength: Number(size) })
      : await promisify(generateKeyPair)('ec', { namedCurve: size === 'p256' ? 'P-256' : 'P-384' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/**
 * @returns SHA-256 of the key's SubjectPublicKeyInfo, hex
 * @throws {Error} where the text is no private key, RSA or EC
 */
export function publicKeyOf(privateKeyPem: string): string {
  const key = createPrivateKey(privateKeyPem);
  if (key.asymmetricKeyType !== 'rsa' && key.asymmetricKeyType !== 'ec') {
    throw new TypeError(`the key is of the type ${key.asymmetricKeyType}`);
  }
  return sha256(createPublicKey(key).export({ type: 'spki', format: 'der' }));
}

/**
 * A PKCS#10 request with a single CN, signed with SHA-512.
 *
 * The CN is a UTF8String of any length: the fleet's own is longer than X.520's 64 characters. The attributes are
 * present though empty: Go, Python and GnuTLS refuse a request without them (RFC 2986, 4.1).
 *
 * @returns PEM
 */
export async function certificateRequest(privateKeyPem: string, commonName: string): Promise<string> {
  const { privateKey, publicKey } = await importKeyPair(privateKeyPem);
  const request = new CertificationRequest();
  request.version = 0;
  request.attributes = [];
  request.subject.typesAndValues.push(
    new AttributeTypeAndValue({ type: commonNameOid, value: new Utf8String({ value: commonName }) }),
  );
  await request.subjectPublicKeyInfo.importKey(publicKey, engine);
  await request.sign(privateKey, 'SHA-512', engine);
  const der = Buffer.from(request.toSchema().toBER());
  return toPem('CERTIFICATE REQUEST', der);
}

async function importKeyPair(pem: string) {
  const key = createPrivateKey(pem);
  const algorithm =
    key.asymmetricKeyType === 'rsa'
      ? { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-512' }
      : {
          name: 'ECDSA',
          namedCurve: key.asymmetricKeyDetails?.namedCurve === 'secp384r1' ? 'P-384' : 'P-256',
        };
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const { subtle } = webcrypto;
  return {
    privateKey: await subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']),
    publicKey: await subtle.importKey('spki', spki, algorithm, true, ['verify']),
  };
}

/** Every certificate of a PEM text. @throws {TypeError} where one is malformed, or there is none */
export function parseCertificates(pem: string): Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----/g) ?? [];
  const begun = pem.split('-----BEGIN CERTIFICATE-----').length - 1;
  if (blocks.length === 0 || blocks.length !== begun) throw new TypeError('no whole PEM certificate');
  if (blocks.length > mostCertificates) throw new TypeError(`more than ${mostCertificates} certificates`);
  return blocks.map(parseCertificate);
}

function parseCertificate(pem: string): Certificate {
  try {
    const x509 = new X509Certificate(pem);
    const { result, offset } = fromBER(x509.raw);
    if (offset === -1) throw new TypeError('no DER');
    const parsed = new ParsedCertificate({ schema: result });
    return {
      pem: `${pem.trim()}\n`,
      subject: x509.subject.replaceAll('\n', ', '),
      commonNames: parsed.subject.typesAndValues
        .filter(({ type }) => type === commonNameOid)
        .map(({ value }) => String(value.valueBlock.value)),
      alternativeNames: (x509.subjectAltName ?? '').split(', ').filter((name) => name !== ''),
      notBefore: date(x509.validFrom),
      notAfter: date(x509.validTo),
      publicKey: sha256(x509.publicKey.export({ type: 'spki', format: 'der' })),
      isAuthority: isAuthority(parsed),
      isClient: isClient(parsed),
    };
  } catch (cause) {
    throw new TypeError('a malformed certificate', { cause });
  }
}

/** Go's rule: version 3 needs basic constraints that say so; a version 1 root has no extensions to say it with. */
function isAuthority({ version, extensions = [] }: ParsedCertificate): boolean {
  const usage = extensions.find(({ extnID }) => extnID === keyUsageOid)?.parsedValue;
  const mayNotSign = usage !== undefined && !keyUsageAllowsSigning(usage);
  if (mayNotSign) return false;
  const constraints = extensions.find(({ extnID }) => extnID === basicConstraintsOid)?.parsedValue;
  if (constraints === undefined) return version === 0;
  return constraints instanceof BasicConstraints && constraints.cA;
}

/** keyCertSign is bit 5 of the BIT STRING (RFC 5280, 4.2.1.3). */
function keyUsageAllowsSigning(usage: { valueBlock?: { valueHexView?: Uint8Array } }): boolean {
  const [first = 0] = usage.valueBlock?.valueHexView ?? [];
  return (first & 0b0000_0100) !== 0;
}

function isClient({ extensions = [] }: ParsedCertificate): boolean {
  const usage = extensions.find(({ extnID }) => extnID === extendedKeyUsageOid)?.parsedValue;
  if (usage === undefined) return true;
  return (
    usage instanceof ExtKeyUsage &&
    usage.keyPurposes.some((oid) => oid === clientAuthOid || oid === anyUsageOid)
  );
}

/** Whether `issuer`'s name and key signed `certificate`. */
export function isSignedBy(certificate: Certificate, issuer: Certificate): boolean {
  const child = new X509Certificate(certificate.pem);
  const parent = new X509Certificate(issuer.pem);
  // checkIssued also compares key identifiers, but refuses a version 1 issuer's lack of them nowhere.
  if (child.issuer !== parent.subject) return false;
  try {
    return child.verify(parent.publicKey);
  } catch {
    return false;
  }
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
