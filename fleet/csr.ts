import { createHash, createPublicKey, type KeyObject, webcrypto, X509Certificate } from 'node:crypto';
import { type AsnType, fromBER, IA5String, PrintableString, Sequence, Utf8String } from 'asn1js';
import {
  CertificationRequest,
  CryptoEngine,
  type PublicKeyInfo,
  type RelativeDistinguishedNames,
} from 'pkijs';

const commonNameOid = '2.5.4.3';
const contextSpecific = 3;
/** Go, and so nats-server, reads these as they are. */
const textTypes = [Utf8String, PrintableString, IA5String];
const leastRsaBits = 2048;
const pemPattern =
  /^-----BEGIN CERTIFICATE REQUEST-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE REQUEST-----\s*$/;

export const engine = new CryptoEngine({ name: 'node', crypto: webcrypto });

/** What a certificate request asks for, once its signature has been found good. */
export interface SigningRequest {
  commonName: string;
  subject: RelativeDistinguishedNames;
  subjectPublicKeyInfo: PublicKeyInfo;
  publicKey: KeyObject;
  /** of the SubjectPublicKeyInfo, hex */
  publicKeySha256: string;
}

/**
 * Reads a PKCS#10 request as strictly as a server written in Go does: whole PEM of this one kind, whole DER, the
 * attributes present though empty, one common name and nothing else, RSA of at least 2048 bits or EC, a good signature.
 *
 * @throws {TypeError} saying what is wrong
 */
export async function readSigningRequest(pem: string): Promise<SigningRequest> {
  const [, base64] = pemPattern.exec(pem) ?? [];
  if (base64 === undefined) throw new TypeError('the CSR is no PEM certificate request');
  const request = parseDer(Buffer.from(base64, 'base64'));
  const names = request.subject.typesAndValues.filter(({ type }) => type === commonNameOid);
  const [name] = names;
  if (name === undefined || names.length > 1) throw new TypeError(`the CSR has ${names.length} common names`);
  if (request.subject.typesAndValues.length > 1)
    throw new TypeError("the CSR's subject has more than a common name, by which nats-server knows a device");
  if (!textTypes.some((type) => name.value instanceof type))
    throw new TypeError("the CSR's common name is no UTF8String, PrintableString or IA5String");
  const publicKey = publicKeyOf(request.subjectPublicKeyInfo);
  if (!(await isGood(request))) throw new TypeError("the CSR's signature is not that of its key");
  return {
    commonName: String(name.value.valueBlock.value),
    subject: request.subject,
    subjectPublicKeyInfo: request.subjectPublicKeyInfo,
    publicKey,
    publicKeySha256: sha256Of(publicKey),
  };
}

/** @returns SHA-256 of the SubjectPublicKeyInfo of a key or of a PEM certificate's key, hex */
export function sha256Of(key: KeyObject | string): string {
  const publicKey = typeof key === 'string' ? new X509Certificate(key).publicKey : key;
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}

function parseDer(der: Buffer): CertificationRequest {
  const { result, offset } = fromBER(der);
  if (offset !== der.length) throw new TypeError('the CSR is no DER, or has something behind it');
  let request: CertificationRequest;
  try {
    request = new CertificationRequest({ schema: result });
  } catch (cause) {
    throw new TypeError('the CSR is DER of something else', { cause });
  }
  if (!hasAttributes(result)) throw new TypeError('the CSR has no attributes, not even an empty set');
  return request;
}

/** Whether the fourth part of the request's information is there (RFC 2986, 4.1); parsed, empty looks like absent. */
function hasAttributes(request: AsnType): boolean {
  const [information] = request instanceof Sequence ? request.valueBlock.value : [];
  const [, , , attributes] = information instanceof Sequence ? information.valueBlock.value : [];
  return attributes?.idBlock.tagClass === contextSpecific && attributes.idBlock.tagNumber === 0;
}

function publicKeyOf(info: PublicKeyInfo): KeyObject {
  const key = createPublicKey({ key: Buffer.from(info.toSchema().toBER()), type: 'spki', format: 'der' });
  const { modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType !== 'ec' && key.asymmetricKeyType !== 'rsa') {
    throw new TypeError(`the CSR's key is of the type ${key.asymmetricKeyType}`);
  }
  if (key.asymmetricKeyType === 'rsa' && modulusLength < leastRsaBits) {
    throw new TypeError(`the CSR's RSA key has ${modulusLength} bits`);
  }
  return key;
}

async function isGood(request: CertificationRequest): Promise<boolean> {
  try {
    return await request.verify(engine);
  } catch {
    return false;
  }
}
