import type { Certificate } from '../../src/services/onboarding/acceptCertificate.ts';

/** Keys and certificates without cryptography: text that says what it is, and is recognised as damaged when it is. */
interface CertificateFields {
  readonly subject: string;
  readonly key: string;
  readonly issuer: string;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly authority: boolean;
  readonly serial: number;
}

const begin = '-----SIMULATED CERTIFICATE ';
const end = ' CERTIFICATE ENDS-----';

export function keyPem(name: string): string {
  return `-----SIMULATED KEY ${name} KEY ENDS-----\n`;
}

export function spkiSha256Of(pem: string): string {
  const [, name] = /^-----SIMULATED KEY (\w+) KEY ENDS-----\n$/.exec(pem) ?? [];
  if (name === undefined) throw new TypeError('no private key');
  return name;
}

export function pkcs8Of(pem: string): string {
  spkiSha256Of(pem);
  return pem;
}

export function certificatePem(fields: CertificateFields): string {
  return `${begin}${JSON.stringify(fields)}${end}\n`;
}

const parsed = new Map<string, Certificate[]>();

export function parseCertificates(pem: string): Certificate[] {
  const known = parsed.get(pem);
  if (known) return known;
  const lines = pem.split('\n').filter((line) => line !== '');
  if (lines.length === 0) throw new TypeError('no certificate');
  const certificates = lines.map((line) => {
    if (!line.startsWith(begin) || !line.endsWith(end)) throw new TypeError('a malformed certificate');
    const fields = JSON.parse(line.slice(begin.length, -end.length)) as CertificateFields;
    return {
      pem: `${line}\n`,
      fingerprint: line,
      serial: fields.serial.toString(16).toUpperCase(),
      subject: `CN=${fields.subject}`,
      subjectName: fields.authority ? fields.key : fields.subject,
      issuerName: fields.issuer,
      commonNames: [fields.subject],
      dnsNames: [],
      uris: [],
      notBefore: new Date(fields.notBefore),
      notAfter: new Date(fields.notAfter),
      spkiSha256: fields.key,
      keyFault: null,
      signatureFault: null,
      version: 3,
      basicConstraints: { isAuthority: fields.authority, pathLength: null },
      keyUsage: null,
      isForClients: true,
      extensionsSha256: String(fields.authority),
      unknownCriticalExtensions: [],
    };
  });
  if (parsed.size > 1000) parsed.clear();
  parsed.set(pem, certificates);
  return certificates;
}

export function isSignedBy(certificate: Certificate, issuer: Certificate): boolean {
  return certificate.pem.includes(`"issuer":"${issuer.spkiSha256}"`);
}

/** Without OpenSSL there is nothing to judge but that the key belongs to the certificate. */
export async function verifyAsTlsClient(chain: readonly Certificate[], key: string): Promise<string | null> {
  return spkiSha256Of(key) === chain[0]?.spkiSha256 ? null : 'key values mismatch';
}

export interface SigningRequest {
  readonly key: string;
  readonly commonName: string;
}

export async function certificateRequest(key: string, commonName: string): Promise<string> {
  return JSON.stringify({ key: spkiSha256Of(key), commonName } satisfies SigningRequest);
}
