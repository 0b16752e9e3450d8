import { OnboardingError } from '../errors.ts';
import type { Renewed } from '../machines/onboarding.ts';
import { renewAt } from '../machines/renewal.ts';
import { parseNatsAddresses } from '../natsAddress.ts';
import {
  acceptCertificate,
  type CertificateReader,
  type CertificateVerifier,
  clockSkewMs,
} from './acceptCertificate.ts';
import {
  currentState,
  type DeviceState,
  files,
  isoTime,
  type StateDirectory,
  updateState,
} from './deviceState.ts';
import type { KeyReader } from './resume.ts';

/** What the provisioning server answered, whatever it is. */
export interface HttpAnswer {
  readonly status: number;
  readonly contentType: string | null;
  readonly body: string;
  /** Header `Date`, milliseconds since 1970 */
  readonly serverTime: number | null;
  /** Header `Retry-After`, either form, in milliseconds from now */
  readonly retryAfterMs: number | null;
}

export interface RequestCertificatePorts {
  readonly directory: StateDirectory;
  readonly pki: CertificateVerifier &
    KeyReader & { certificateRequest(privateKeyPem: string, commonName: string): Promise<string> };
  /** Posts JSON to the provisioning server. @throws {OnboardingError} PROVISIONING_* */
  readonly post: (json: string, signal: AbortSignal) => Promise<HttpAnswer>;
  readonly now: () => number;
  readonly random: () => number;
}

export interface RequestCertificateOptions {
  readonly swarmId: string | null;
  /** Template, `{id}` is filled in */
  readonly commonName: string;
  /** In place of the address that the server answers */
  readonly natsUrl: string | null;
  readonly renewalAt: number | readonly [number, number];
  /** Whether the server proves who it is (`https:`): only then may a renewal bring another CA. */
  readonly authenticated: boolean;
  /** When this program was built, milliseconds since 1970: no right clock lies before. */
  readonly builtAt: number;
}

/**
 * One attempt to get the first certificate: request, answer, acceptance, and only then the durable record.
 *
 * @throws {OnboardingError} CLOCK_WRONG before anything is sent, PROVISIONING_*, CERTIFICATE_*, STATE_*
 */
export async function requestCertificate(
  ports: RequestCertificatePorts,
  options: RequestCertificateOptions,
  signal: AbortSignal,
): Promise<void> {
  const { directory, pki, now } = ports;
  checkClock(now(), options.builtAt);
  const state = currentState(directory);
  const key = readKey(directory);
  // A clock that leapt and came back led here: the certificate lives, and another one is not asked for.
  if (state.provisioned !== null && isLiving(pki, state.provisioned.certificate, pki.publicKeyOf(key), now()))
    return;
  await obtain(ports, options, state, key, null, signal);
}

/**
 * One attempt to get a certificate in place of the one that lives, for the same key and from the same CA: over plain
 * HTTP anybody could answer with a CA of his own, and take a device that is the fleet's.
 *
 * @throws {OnboardingError} as `requestCertificate`; the certificate that lives then stays
 */
export async function renewCertificate(
  ports: RequestCertificatePorts,
  options: RequestCertificateOptions,
  signal: AbortSignal,
): Promise<Renewed> {
  const { directory, now } = ports;
  checkClock(now(), options.builtAt);
  const state = currentState(directory);
  const trusted = options.authenticated ? null : (state.provisioned?.caCertificate ?? null);
  return await obtain(ports, options, state, readKey(directory), trusted, signal);
}

/** @param trusted PEM of the CA that the answer may not leave; null: any */
async function obtain(
  { directory, pki, post, now, random }: RequestCertificatePorts,
  options: RequestCertificateOptions,
  { deviceId }: DeviceState,
  key: string,
  trusted: string | null,
  signal: AbortSignal,
): Promise<Renewed> {
  const commonName = options.commonName.replaceAll('{id}', deviceId);
  const csr = await pki.certificateRequest(key, commonName);
  signal.throwIfAborted();
  const swarm = options.swarmId === null ? {} : { swarm_id: options.swarmId };
  const answer = await post(JSON.stringify({ csr, ...swarm }), signal);
  const { natsUrl, ...received } = readAnswer(answer, options.natsUrl);
  const publicKey = pki.publicKeyOf(key);
  const { serverTime } = answer;
  const { leaf, certificate, caCertificate } = await acceptCertificate(
    pki,
    received,
    { publicKey, deviceId, commonName, now: now(), serverTime, trusted, fleetCa: null, renews: null },
    key,
    signal,
  );
  const due = isoTime(renewAt(leaf, options.renewalAt, random(), now()).getTime());
  signal.throwIfAborted();
  updateState(directory, () => ({ provisioned: { certificate, caCertificate, natsUrl, renewAt: due } }));
  return { notAfter: leaf.notAfter.toISOString(), renewAt: due };
}

function readKey(directory: StateDirectory): string {
  const key = directory.read(files.key);
  if (key === null) throw new OnboardingError('STATE_CORRUPT', `${files.key} is gone`);
  return key;
}

function isLiving(reader: CertificateReader, pem: string, publicKey: string, now: number): boolean {
  try {
    const [leaf] = reader.parseCertificates(pem);
    return leaf?.publicKey === publicKey && now <= leaf.notAfter.getTime();
  } catch {
    return false;
  }
}

/**
 * No right clock lies before the build, nor before a certificate that was valid when it was accepted.
 *
 * @throws {OnboardingError} CLOCK_WRONG
 */
export function checkClock(now: number, builtAt: number, accepted?: { notBefore: Date }): void {
  const refuse = (what: string, then: number) => {
    const dates = `${isoTime(now)}, before ${what}, ${isoTime(then)}`;
    throw new OnboardingError('CLOCK_WRONG', `the clock says ${dates}`);
  };
  if (now < builtAt) refuse('this program was built', builtAt);
  const start = accepted?.notBefore.getTime();
  if (start !== undefined && now < start - clockSkewMs) refuse('the certificate’s start', start);
}

/** Answers that say «not now»: they are worth another try without anybody's doing. */
const passing = new Set([408, 425, 429]);

/** Reads protocol.md's answer; liberal in what else it holds. @throws {OnboardingError} PROVISIONING_* */
function readAnswer(
  { status, contentType, body, retryAfterMs }: HttpAnswer,
  configuredNatsUrl: string | null,
) {
  if (status >= 400) {
    const transient = status >= 500 || passing.has(status);
    throw new OnboardingError('PROVISIONING_REJECTED', `the provisioning server answered HTTP ${status}`, {
      class: transient ? 'transient' : 'permanent',
      retryAfterMs,
    });
  }
  if (status < 200 || status >= 300) throw invalid(`HTTP ${status}; redirects are refused`);
  const json = parseObject(body, contentType);
  const [certificate, caCertificate] = [text(json, 'certificate'), text(json, 'caCertificate')];
  const natsUrl =
    configuredNatsUrl !== null && typeof json.fleetManagementNatsUrl !== 'string'
      ? configuredNatsUrl
      : text(json, 'fleetManagementNatsUrl').trim();
  try {
    parseNatsAddresses(natsUrl);
  } catch (cause) {
    throw invalid(
      `a fleetManagementNatsUrl of which ${cause instanceof Error ? cause.message : 'nothing is known'}`,
      cause,
    );
  }
  return { certificate, caCertificate, natsUrl };
}

function parseObject(body: string, contentType: string | null): Record<string, unknown> {
  const what = `${contentType?.slice(0, 60) ?? 'no content type'}, ${body.length} characters`;
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch (cause) {
    throw invalid(`no JSON (${what})`, cause);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw invalid(`no JSON object (${what})`);
  return json as Record<string, unknown>;
}

function text(json: Record<string, unknown>, field: string): string {
  const value = Object.hasOwn(json, field) ? json[field] : undefined;
  if (typeof value === 'string' && value.trim() !== '') return value;
  throw invalid(`${value === undefined ? 'no' : 'a malformed'} ${field}`);
}

function invalid(what: string, cause?: unknown): OnboardingError {
  return new OnboardingError('PROVISIONING_ANSWER_INVALID', `the provisioning server answered ${what}`, {
    cause,
  });
}
