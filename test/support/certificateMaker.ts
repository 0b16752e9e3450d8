import {
  constants,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { CertificationRequest } from 'pkijs';
import type { OpensslCertificate, OpensslKey, OpensslRequest } from '../fleet/opensslCa.ts';
import * as der from './der.ts';

/** Makes keys and certificates of every kind, sound or not. */
export interface CertificateMaker {
  /** @returns the name */
  key(name: string, type: OpensslKey): string;
  /** @param publicKey name of another key that takes the place of the request's */
  issue(request: OpensslRequest, publicKey?: string): OpensslCertificate;
  /** PKCS#8 PEM */
  keyPem(name: string): string;
}

let make: (folder: string) => CertificateMaker = inProcess;

/** In memory, unless a test says otherwise. @param folder for the files of a maker that needs some */
export const certificateMaker = (folder: string) => make(folder);

/** Has the certificates of this test file made by something else. */
export function makeCertificatesWith(other: typeof make): void {
  make = other;
}

const day = 86_400_000;
const attributeIds: Readonly<Record<string, string>> = {
  CN: '2.5.4.3',
  O: '2.5.4.10',
  OU: '2.5.4.11',
};
const signatureIds: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  rsa: {
    md5: '1.2.840.113549.1.1.4',
    sha1: '1.2.840.113549.1.1.5',
    sha256: '1.2.840.113549.1.1.11',
    sha384: '1.2.840.113549.1.1.12',
    sha512: '1.2.840.113549.1.1.13',
  },
  ec: {
    sha1: '1.2.840.10045.4.1',
    sha256: '1.2.840.10045.4.3.2',
    sha384: '1.2.840.10045.4.3.3',
    sha512: '1.2.840.10045.4.3.4',
  },
};
const hashIds: Readonly<Record<string, string>> = {
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
};
const ids = { mgf1: '1.2.840.113549.1.1.8', pss: '1.2.840.113549.1.1.10', ed25519: '1.3.101.112' };

interface Pair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject | null;
}

function inProcess(): CertificateMaker {
  const keys = new Map<string, Pair>();
  const made = new Map<string, { subject: Buffer; key: string }>();
  const pairOf = (name: string) => {
    const pair = keys.get(name);
    if (pair === undefined) throw new Error(`there is no key ${name}`);
    return pair;
  };
  return {
    key(name, type) {
      keys.set(name, newPair(type));
      return name;
    },
    keyPem: (name) => String(pairOf(name).privateKey?.export({ type: 'pkcs8', format: 'pem' })),
    issue(request, publicKey) {
      const { key = '', issuer = null, extensions = [], days = 30, startsInMs = 0 } = request;
      const { subject, spki } = subjectOf(request, pairOf(key).publicKey);
      const by = issuer === null ? { subject, key } : made.get(issuer.pem);
      if (by === undefined) throw new Error('the issuer was made by another maker');
      const signer = pairOf(by.key).privateKey;
      if (signer === null) throw new Error(`the key ${by.key} signs nothing`);
      const { algorithm, signed } = signing(signer, request);
      const start = Date.now() + startsInMs;
      const forced = publicKey === undefined ? spki : spkiOf(pairOf(publicKey).publicKey);
      const body = der.sequence(
        ...(extensions.length === 0 ? [] : [der.tagged(0, der.integer(2))]),
        // Positive, and of any length that OpenSSL gives one.
        der.integer(Buffer.concat([Buffer.from([0x40]), randomBytes(15)])),
        algorithm,
        by.subject,
        der.sequence(der.time(new Date(start)), der.time(new Date(start + days * day))),
        subject,
        forced,
        ...(extensions.length === 0 ? [] : [der.tagged(3, der.sequence(...extensions.map(extension)))]),
      );
      const base64 = der.sequence(body, algorithm, der.wholeBytes(signed(body))).toString('base64');
      const lines = base64.match(/.{1,64}/g)?.join('\n');
      const pem = `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
      made.set(pem, { subject, key });
      return { pem, file: '', keyFile: '' };
    },
  };
}

function newPair(type: OpensslKey): Pair {
  const [family = '', size = ''] = type.split('-');
  if (type === 'rsa-16384' || type === 'rsa-exponent-1') {
    const n = Buffer.alloc(type === 'rsa-16384' ? 2048 : 256, 0xa5).toString('base64url');
    const e = type === 'rsa-16384' ? 'AQAB' : 'AQ';
    return { publicKey: createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' }), privateKey: null };
  }
  if (family === 'rsa') return generateKeyPairSync('rsa', { modulusLength: Number(size) });
  if (family === 'ed25519') return generateKeyPairSync('ed25519');
  return generateKeyPairSync('ec', { namedCurve: type });
}

const spkiOf = (key: KeyObject) => key.export({ type: 'spki', format: 'der' });

/** Name and key of a request: those of its CSR, or its own. */
function subjectOf({ csr, subject = '/CN=CA', printable = false }: OpensslRequest, key: KeyObject) {
  if (csr === undefined) return { subject: nameOf(subject, printable), spki: spkiOf(key) };
  const bytes = Buffer.from(csr.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const read = CertificationRequest.fromBER(bytes);
  return {
    subject: Buffer.from(read.subject.toSchema().toBER()),
    spki: Buffer.from(read.subjectPublicKeyInfo.toSchema().toBER()),
  };
}

/** @param text as `-subj` of openssl(1) takes it: `/O=fleet/CN=a\/b` */
function nameOf(text: string, printable: boolean): Buffer {
  const parts = [...text.matchAll(/\/([A-Z]+)=((?:\\.|[^/\\])*)/g)];
  return der.sequence(
    ...parts.map(([, type = '', value = '']) => {
      const plain = value.replace(/\\(.)/g, '$1');
      const id = der.objectId(attributeIds[type] ?? '');
      return der.set(der.sequence(id, printable ? der.printable(plain) : der.utf8(plain)));
    }),
  );
}

function signing(key: KeyObject, { digest = 'sha256', options = [] }: OpensslRequest) {
  if (key.asymmetricKeyType === 'ed25519') {
    const algorithm = der.sequence(der.objectId(ids.ed25519));
    return { algorithm, signed: (body: Buffer) => sign(null, body, key) };
  }
  const hash = digest ?? 'sha256';
  const [, salt] = /^rsa_pss_saltlen:(\d+)$/.exec(options.at(-1) ?? '') ?? [];
  if (salt !== undefined) {
    const hashing = der.sequence(der.objectId(hashIds[hash] ?? ''), der.none);
    const mask = options.includes('rsa_mgf1_md:sha1') ? 'sha1' : hash;
    const masking = der.sequence(der.objectId(hashIds[mask] ?? ''), der.none);
    const parameters = der.sequence(
      der.tagged(0, hashing),
      der.tagged(1, der.sequence(der.objectId(ids.mgf1), masking)),
      der.tagged(2, der.integer(Number(salt))),
    );
    const how = { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: Number(salt) };
    const algorithm = der.sequence(der.objectId(ids.pss), parameters);
    return { algorithm, signed: (body: Buffer) => sign(hash, body, how) };
  }
  const type = key.asymmetricKeyType ?? '';
  const id = der.objectId(signatureIds[type]?.[hash] ?? '');
  const algorithm = type === 'rsa' ? der.sequence(id, der.none) : der.sequence(id);
  return { algorithm, signed: (body: Buffer) => sign(hash, body, key) };
}

const usageBits: Readonly<Record<string, number>> = {
  digitalSignature: 0x80,
  keyEncipherment: 0x20,
  keyAgreement: 0x08,
  keyCertSign: 0x04,
  cRLSign: 0x02,
};
const purposeIds: Readonly<Record<string, string>> = {
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  anyExtendedKeyUsage: '2.5.29.37.0',
};
const nameTags: Readonly<Record<string, number>> = { email: 1, DNS: 2, URI: 6 };
const generalName = (text: string) => {
  const [type = '', ...value] = text.split(':');
  return der.taggedText(nameTags[type] ?? 0, value.join(':'));
};

const values: Readonly<Record<string, readonly [id: string, write: (parts: string[]) => Buffer]>> = {
  basicConstraints: [
    '2.5.29.19',
    (parts) => {
      const [, length] = /^pathlen:(\d+)$/.exec(parts.at(-1) ?? '') ?? [];
      const limit = length === undefined ? [] : [der.integer(Number(length))];
      return der.sequence(...(parts.includes('CA:TRUE') ? [der.truth] : []), ...limit);
    },
  ],
  keyUsage: [
    '2.5.29.15',
    (parts) => der.namedBits(parts.reduce((bits, name) => bits | (usageBits[name] ?? 0), 0)),
  ],
  extendedKeyUsage: [
    '2.5.29.37',
    (parts) => der.sequence(...parts.map((name) => der.objectId(purposeIds[name] ?? ''))),
  ],
  subjectAltName: ['2.5.29.17', (parts) => der.sequence(...parts.map(generalName))],
  subjectKeyIdentifier: ['2.5.29.14', () => der.octets(randomBytes(20))],
  nameConstraints: [
    '2.5.29.30',
    (parts) => {
      const permitted = parts.map((part) => part.replace(/^permitted;/, ''));
      return der.sequence(der.tagged(0, ...permitted.map((name) => der.sequence(generalName(name)))));
    },
  ],
};

/** @param line as a section of extensions of openssl(1) has it: `keyUsage=critical,digitalSignature` */
function extension(line: string): Buffer {
  const [, name = '', critical, rest = ''] = /^([^=]+)=(critical,)?(.*)$/s.exec(line) ?? [];
  const [id, write] = values[name] ?? [name, ([value = '']) => anything(value)];
  const flag = critical === undefined ? [] : [der.truth];
  return der.sequence(der.objectId(id), ...flag, der.octets(write(rest.split(','))));
}

/** `ASN1:NULL`, `ASN1:UTF8:text` */
const anything = (value: string) =>
  value === 'ASN1:NULL' ? der.none : der.utf8(value.replace(/^ASN1:UTF8:/, ''));
