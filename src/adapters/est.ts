import { X509Certificate } from 'node:crypto';
import { Certificate, ContentInfo, SignedData } from 'pkijs';
import { OnboardingError } from '../errors/onboardingError.ts';
import type { HttpAnswer } from '../services/onboarding/requestCertificate.ts';
import { answerTo, authorization, type ProvisioningServer } from './provisioningApi.ts';

/** What the device renews with, PEM. */
export interface CurrentIdentity {
  readonly cert: string;
  readonly key: string;
}

const wellKnown = '/.well-known/est';
const mostCertificates = 8;

/**
 * The provisioning port over EST (RFC 7030): `simpleenroll`, or `simplereenroll` for a device whose certificate lives, and
 * then `cacerts`. The answer has the form of the fleet's own protocol, so that nothing behind this file knows of EST.
 *
 * @param json the fleet's request: its CSR is sent, and nothing else of it
 * @param current null: the device has no certificate that lives
 * @throws {OnboardingError} as `postProvision`
 */
export async function enroll(
  server: ProvisioningServer,
  json: string,
  current: CurrentIdentity | null,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const { csr } = JSON.parse(json) as { csr: string };
  const operation = current === null ? 'simpleenroll' : 'simplereenroll';
  const issued = await exchange(server, { operation, body: bare(csr) }, current, signal);
  if (issued.status !== 200) return issued;
  const trusted = await exchange(server, { operation: 'cacerts', body: null }, current, signal);
  if (trusted.status !== 200) return trusted;
  const path = pathOf(certificatesIn(issued.body), certificatesIn(trusted.body));
  const answer = { certificate: path.chain.map(String).join(''), caCertificate: String(path.anchor) };
  return { ...issued, contentType: 'application/json', body: JSON.stringify(answer) };
}

interface Exchange {
  readonly operation: 'simpleenroll' | 'simplereenroll' | 'cacerts';
  /** Base64 of a PKCS#10; null: a GET */
  readonly body: string | null;
}

async function exchange(
  server: ProvisioningServer,
  { operation, body }: Exchange,
  current: CurrentIdentity | null,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const url = new URL(`${server.url.replace(/\/+$/, '')}${wellKnown}/${operation}`);
  const content = { 'content-type': 'application/pkcs10', 'content-transfer-encoding': 'base64' };
  const headers = {
    accept: 'application/pkcs7-mime',
    'user-agent': server.userAgent,
    ...authorization(server.tokenFile),
    ...(body === null ? {} : { ...content, 'content-length': `${Buffer.byteLength(body)}` }),
  };
  const request = { method: body === null ? 'GET' : 'POST', headers, body } as const;
  const client = current === null ? {} : { client: current };
  return await answerTo(url, { ...request, ...client }, server, signal);
}

/** Base64 of the DER, as EST sends it; some servers send PEM. */
function bare(pem: string): string {
  return pem.replace(/-----[^-]*-----/g, '').trim();
}

/** The certificates of a PKCS#7 message without a signer. @throws {OnboardingError} PROVISIONING_ANSWER_INVALID */
function certificatesIn(text: string): X509Certificate[] {
  try {
    const content = ContentInfo.fromBER(Buffer.from(bare(text), 'base64'));
    const { certificates = [] } = new SignedData({ schema: content.content });
    const found = certificates.filter((each) => each instanceof Certificate);
    if (found.length === 0 || found.length > mostCertificates) throw new Error('none, or too many');
    return found.map((each) => new X509Certificate(Buffer.from(each.toSchema().toBER())));
  } catch (cause) {
    const text = 'the provisioning server answered no PKCS#7 message with certificates';
    throw new OnboardingError('PROVISIONING_ANSWER_INVALID', text, { cause });
  }
}

/** The device's certificate with those between it and its CA, and that CA, as far up as certificates were sent. */
function pathOf(
  issued: readonly X509Certificate[],
  trusted: readonly X509Certificate[],
): { readonly chain: X509Certificate[]; readonly anchor: X509Certificate } {
  // The device's own is the one that issued none of the others.
  const leaf = issued.find((each) => !issued.some((other) => other !== each && other.checkIssued(each)));
  const known = [...issued, ...trusted];
  const path = leaf === undefined ? [] : [leaf];
  for (let last = leaf; last !== undefined && path.length <= mostCertificates; ) {
    const issuer = known.find((each) => (last as X509Certificate).checkIssued(each));
    last = issuer === undefined || path.some(({ raw }) => raw.equals(issuer.raw)) ? undefined : issuer;
    if (last !== undefined) path.push(last);
  }
  const anchor = path.length > 1 ? path.pop() : undefined;
  if (anchor !== undefined) return { chain: path, anchor };
  const text = 'the provisioning server answered a certificate, and not that of its issuer';
  throw new OnboardingError('PROVISIONING_ANSWER_INVALID', text);
}
