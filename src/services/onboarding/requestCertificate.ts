import * as v from 'valibot';
import { parseNatsAddresses } from '../../config/natsAddress.ts';
import { excerpt, OnboardingError } from '../../errors/onboardingError.ts';
import { type Reason, reasonOfStatus, reasons } from '../../errors/reasons.ts';
import type { Issued, Renewed } from '../../machines/contracts.ts';
import { renewAt } from '../../machines/renewal.ts';
import { isRecord, parseJson } from '../../text/json.ts';
import {
  currentState,
  type DeviceState,
  files,
  isoTime,
  type Provisioned,
  type StateDirectory,
  updateState,
} from '../state/deviceState.ts';
import {
  acceptCertificate,
  type Certificate,
  type CertificateReader,
  type CertificateVerifier,
  isFleetCa,
  type KeyReader,
} from './acceptCertificate.ts';
import { checkClock } from './clockCheck.ts';
import type { Identity, RegisterPorts } from './register.ts';

/** What the provisioning server answered, whatever it is. */
export interface HttpAnswer {
  readonly status: number;
  readonly contentType: string | null;
  readonly body: string;
  /** Header `Date`, milliseconds since 1970 */
  readonly serverTime: number | null;
  /** Header `Retry-After`, either form, in milliseconds from now */
  readonly retryAfterMs: number | null;
  /** Who answered, for messages: host and port, and the proxy; absent: there is one server only */
  readonly server?: string;
  /** Says that this was no answer of the fleet: another server, if there is one, is asked next */
  readonly disown?: () => void;
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
  /** SHA-256 of the CA certificates that the answer may bring, hex; null: not configured */
  readonly fleetCa: readonly string[] | null;
  /** When this program was built, milliseconds since 1970: no right clock lies before. */
  readonly builtAt: number;
  /** False: no request may leave, and what has none waits for a person (`AUTOMATIC_PROVISIONING=false`). */
  readonly isAllowed?: boolean;
}

/**
 * One attempt to get the first certificate: request, answer, acceptance, and only then the durable record.
 *
 * @param isReplacement the certificate at hand is still valid, and is replaced: it has never opened NATS
 * @throws {OnboardingError} CLOCK_WRONG before anything is sent, PROVISIONING_*, CERTIFICATE_*, STATE_*
 */
export async function requestCertificate(
  ports: RequestCertificatePorts,
  options: RequestCertificateOptions,
  { isReplacement }: { isReplacement: boolean },
  signal: AbortSignal,
): Promise<Issued> {
  const { directory, pki, now } = ports;
  checkClock(now(), options.builtAt);
  const state = currentState(directory);
  const key = readKey(directory);
  // The clock jumped ahead and was set back: the certificate is valid after all, and no other is requested.
  const spkiSha256 = hashOfKey(pki, key);
  const leaf = isReplacement ? null : unexpiredLeaf(pki, state.provisioned, spkiSha256, now());
  if (leaf !== null && state.provisioned !== null && !isFromForeignCa(pki, state, options.fleetCa)) {
    const { renewAt, opened } = state.provisioned;
    return { ...datesOf(leaf, renewAt), opened, candidate: null, atHand: true };
  }
  const { candidate, issued } = await obtainCertificate(ports, options, { state, key, renews: null }, signal);
  if (isFromForeignCa(pki, state, options.fleetCa)) {
    storeCertificate(directory, candidate, forgetForeignFleet);
    return { ...issued, candidate: null };
  }
  if (mustProveAddress(state, candidate, options)) return { ...issued, candidate };
  storeCertificate(directory, candidate);
  return { ...issued, candidate: null };
}

export interface CertificateOrder {
  readonly state: DeviceState;
  /** Private key to certify, PEM; durable */
  readonly key: string;
  /** The certificate that lives: the new one must not be older. Null: none does */
  readonly renews: Certificate | null;
}

/** Requests a certificate and judges it; nothing is stored. @throws {OnboardingError} PROVISIONING_*, CERTIFICATE_* */
export async function obtainCertificate(
  { pki, post, now, random }: Omit<RequestCertificatePorts, 'directory'>,
  options: RequestCertificateOptions,
  { state, key, renews }: CertificateOrder,
  signal: AbortSignal,
): Promise<{ readonly candidate: Provisioned; readonly issued: Renewed }> {
  if (options.isAllowed === false) {
    throw new OnboardingError(
      'CONFIG_INVALID',
      'AUTOMATIC_PROVISIONING=false: no certificate is requested, and the device needs one',
      { reason: 'provisioning-off' },
    );
  }
  const { deviceId, provisioned, pinnedCa } = state;
  const commonName = options.commonName.replaceAll('{id}', deviceId);
  const csr = await pki.certificateRequest(key, commonName);
  signal.throwIfAborted();
  const swarm = options.swarmId === null ? {} : { swarm_id: options.swarmId };
  const answer = await post(JSON.stringify({ csr, ...swarm }), signal);
  const present = renews === null ? null : (provisioned?.caCertificate ?? null);
  const trusted = options.authenticated ? null : (pinnedCa ?? present);
  const spkiSha256 = pki.spkiSha256Of(key);
  const { serverTime } = answer;
  const { fleetCa } = options;
  const accept = async () => {
    const { natsUrl, ...received } = readAnswer(answer, options.natsUrl);
    const expected = { key, spkiSha256, deviceId, commonName, now: now(), serverTime, trusted, fleetCa };
    return { natsUrl, ...(await acceptCertificate(pki, received, { ...expected, renews }, signal)) };
  };
  const { natsUrl, leaf, usableUntil, certificate, caCertificate } = await accept().catch(
    (error: unknown) => {
      if (isOfNoFleet(error)) answer.disown?.();
      throw error;
    },
  );
  const life = { notBefore: leaf.notBefore, notAfter: usableUntil };
  const due = isoTime(renewAt(life, options.renewalAt, random(), now()).getTime());
  signal.throwIfAborted();
  return {
    candidate: { certificate, caCertificate, natsUrl, renewAt: due, opened: false },
    issued: { ...datesOf(leaf, due), opened: false },
  };
}

/** Whether no server of the fleet gives such an answer: a portal's page, say, or the certificate of another CA. */
function isOfNoFleet(error: unknown): boolean {
  if (!(error instanceof OnboardingError)) return false;
  return error.code === 'PROVISIONING_ANSWER_INVALID' || error.code.startsWith('CERTIFICATE_');
}

/** What the log says of a certificate. */
export function datesOf(
  { serial, notAfter }: Certificate,
  renewAt: string,
): Pick<Renewed, 'serial' | 'notAfter' | 'renewAt'> {
  return { serial, notAfter: notAfter.toISOString(), renewAt };
}

/** An attacker on the path can forward the fleet's own certificate and name a server of his own. */
export function mustProveAddress(
  { provisioned, pinnedCa }: DeviceState,
  { natsUrl }: Provisioned,
  options: Pick<RequestCertificateOptions, 'natsUrl' | 'authenticated'>,
): boolean {
  const moves = options.natsUrl === null && provisioned !== null && natsUrl !== provisioned.natsUrl;
  return moves && pinnedCa !== null && !options.authenticated;
}

/** The device's certificate is of a CA that the configuration does not allow, or no longer. */
function isFromForeignCa(
  reader: CertificateReader,
  { provisioned }: DeviceState,
  fleetCa: readonly string[] | null,
): boolean {
  return provisioned !== null && !isFleetCa(reader, provisioned.caCertificate, fleetCa);
}

/**
 * The other CA's operator also gave the result, so the device registers again; its own fleet may know it from before.
 */
const forgetForeignFleet: Partial<DeviceState> = {
  pinnedCa: null,
  registration: null,
  formerRegistration: null,
  request: null,
  lastRejection: null,
  rejectedRequest: null,
  mayBeRegistered: true,
};

export type TryCertificatePorts = Pick<RegisterPorts, 'directory' | 'connect'>;

/**
 * Opens every new NATS address of an answer, then stores certificate and addresses. If one of them does not open, the
 * certificate, which was accepted, is stored with the known address.
 *
 * @throws {OnboardingError} STATE_*: what the device has then stays; the signal's reason
 */
export async function tryCertificate(
  ports: TryCertificatePorts,
  { candidate, ...issued }: Issued,
  signal: AbortSignal,
): Promise<Renewed> {
  const { directory } = ports;
  const provisioned = candidate as Provisioned;
  const state = currentState(directory);
  const known = state.provisioned?.natsUrl ?? '';
  try {
    for (const natsUrl of addressesToProve(provisioned.natsUrl, known)) {
      await openOverTls(ports, state.deviceId, { ...provisioned, natsUrl }, signal);
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof OnboardingError) || !error.code.startsWith('NATS_')) throw error;
    storeCertificate(directory, { ...provisioned, natsUrl: known });
    return { ...issued, addressRefused: { code: error.code, cause: error.message } };
  }
  storeCertificate(directory, { ...provisioned, opened: true });
  return { ...issued, opened: true };
}

/** What has to open before another list is used: each address that is not known; if none is new, one of the list. */
export function addressesToProve(natsUrl: string, known: string): string[] {
  const unknown = unknownAddresses(natsUrl, known);
  return unknown.length > 0 ? unknown : [natsUrl];
}

/** The addresses of a list that are not in the other list. A known server with another login is another address. */
export function unknownAddresses(natsUrl: string, known: string): string[] {
  const meant = (part: string) => JSON.stringify(parseNatsAddresses(part));
  const parts = (list: string) =>
    list
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '');
  const old = new Set(parts(known).map(meant));
  return parts(natsUrl).filter((part) => !old.has(meant(part)));
}

/** Opens NATS over TLS, or not at all. @throws {OnboardingError} NATS_* */
async function openOverTls(
  { directory, connect }: TryCertificatePorts,
  deviceId: string,
  { certificate, caCertificate, natsUrl }: Provisioned,
  signal: AbortSignal,
): Promise<void> {
  const identity = { deviceId, key: readKey(directory), certificate, caCertificate, natsUrl };
  if (!(await opensOverTls(connect, identity, signal)))
    throw new OnboardingError('NATS_NOT_SECURE', 'the NATS server offers no TLS');
}

/** Opens NATS once and closes it. @returns whether the connection used mutual TLS. @throws {OnboardingError} NATS_* */
export async function opensOverTls(
  connect: RegisterPorts['connect'],
  identity: Identity,
  signal: AbortSignal,
): Promise<boolean> {
  const session = await connect(identity, signal);
  session.close().catch(() => undefined);
  signal.throwIfAborted();
  return session.isEncrypted;
}

/** The CA of the accepted certificate becomes the pinned one: the pinned CA vouched for it. */
function storeCertificate(
  directory: StateDirectory,
  provisioned: Provisioned,
  more: Partial<DeviceState> = {},
): void {
  updateState(directory, ({ pinnedCa }) => ({
    provisioned,
    candidate: null,
    previous: null,
    pinnedCa: pinnedCa === null ? null : provisioned.caCertificate,
    ...more,
  }));
}

export function readKey(directory: StateDirectory): string {
  const key = directory.read(files.key);
  if (key === null) throw new OnboardingError('STATE_CORRUPT', `${files.key} does not exist`);
  return key;
}

/**
 * @returns SHA-256 of the public key of `identity.key`, hex
 * @throws {OnboardingError} STATE_CORRUPT if it was damaged since the start, which would have set it aside
 */
export function hashOfKey(pki: KeyReader, key: string): string {
  try {
    return pki.spkiSha256Of(key);
  } catch (cause) {
    if (cause instanceof OnboardingError) throw cause;
    throw new OnboardingError('STATE_CORRUPT', `${files.key} is no private key`, { cause });
  }
}

export function unexpiredLeaf(
  reader: CertificateReader,
  provisioned: Provisioned | null,
  spkiSha256: string,
  now: number,
): Certificate | null {
  try {
    const [leaf] = provisioned ? reader.parseCertificates(provisioned.certificate) : [];
    return leaf?.spkiSha256 === spkiSha256 && now <= leaf.notAfter.getTime() ? leaf : null;
  } catch {
    return null;
  }
}

/** Statuses below 500 of a server that may accept the same request later. */
const transientStatuses = new Set([408, 425, 429]);

const nonEmpty = v.pipe(v.string(), v.regex(/\S/));
/** The server takes the request and decides later, perhaps when a person has agreed. */
const acceptedStatus = 202;

const answerSchema = v.object({
  certificate: nonEmpty,
  caCertificate: nonEmpty,
  fleetManagementNatsUrl: v.pipe(nonEmpty, v.trim()),
});

/** Reads the answer of protocol.md; ignores other fields. @throws {OnboardingError} PROVISIONING_* */
function readAnswer(
  { status, contentType, body, retryAfterMs, server }: HttpAnswer,
  configuredNatsUrl: string | null,
) {
  if (status >= 400 || status === acceptedStatus) {
    const transient = status >= 500 || transientStatuses.has(status) || status === acceptedStatus;
    const who = `the provisioning server${server === undefined ? '' : ` ${server}`}`;
    const reason = status === acceptedStatus ? 'http-202' : reasonOfStatus(status);
    const cause = reason === null ? '' : ` (${reasons[reason].cause})`;
    throw new OnboardingError(
      'PROVISIONING_REJECTED',
      `${who} answered HTTP ${status}${cause}${bodyExcerpt(body, contentType)}`,
      { class: transient ? 'transient' : 'permanent', reason, retryAfterMs },
    );
  }
  if (status < 200 || status >= 300)
    throw invalid(`HTTP ${status}; redirects are not followed`, undefined, reasonOfStatus(status));
  const json = parseObject(body, contentType);
  const known = withNatsUrl(withCaCertificate(json), configuredNatsUrl);
  const parsed = v.safeParse(answerSchema, known, { abortEarly: true });
  if (!parsed.success) throw invalid(`${flawOf(parsed.issues[0])}${errorIn(json)}`);
  const { certificate, caCertificate, fleetManagementNatsUrl: natsUrl } = parsed.output;
  try {
    parseNatsAddresses(natsUrl);
  } catch (cause) {
    throw invalid(
      `an invalid fleetManagementNatsUrl: ${cause instanceof Error ? cause.message : 'it cannot be read'}`,
      cause,
    );
  }
  return { certificate, caCertificate, natsUrl };
}

/** The body of an HTTP error, for a message; empty for a web page. */
function bodyExcerpt(body: string, contentType: string | null): string {
  const said = isWebPage(contentType) ? '' : excerpt(body);
  return said === '' ? '' : `: ${said}`;
}

/** What an answer that is none says went wrong, as the body of an HTTP error does. */
function errorIn(json: Record<string, unknown>): string {
  const said = json.error ?? json.message;
  return typeof said === 'string' && said.trim() !== '' ? `, but an error: ${excerpt(said)}` : '';
}

/**
 * An older server spells the field `ca_certificate`.
 *
 * @throws {OnboardingError} PROVISIONING_ANSWER_INVALID if both are there and differ: one of them is wrong
 */
function withCaCertificate(json: Record<string, unknown>): Record<string, unknown> {
  const { caCertificate, ca_certificate: older } = json;
  if (isAbsent(older)) return json;
  if (isAbsent(caCertificate)) return { ...json, caCertificate: older };
  const withoutSpace = (value: unknown) => (typeof value === 'string' ? value.replace(/\s+/g, '') : value);
  if (withoutSpace(caCertificate) !== withoutSpace(older))
    throw invalid('a caCertificate and a ca_certificate that differ');
  return json;
}

/** A server with a field for either spelling leaves the other one empty. */
function isAbsent(value: unknown): boolean {
  return value === undefined || value === null || (typeof value === 'string' && value.trim() === '');
}

/** If an address is configured, the answer need not have one that can be used. */
function withNatsUrl(json: Record<string, unknown>, configured: string | null): Record<string, unknown> {
  return configured === null || isNatsAddress(json.fleetManagementNatsUrl)
    ? json
    : { ...json, fleetManagementNatsUrl: configured };
}

function isNatsAddress(value: unknown): boolean {
  try {
    return typeof value === 'string' && parseNatsAddresses(value).length > 0;
  } catch {
    return false;
  }
}

function flawOf(issue: v.InferIssue<typeof answerSchema>): string {
  return `${issue.input === undefined ? 'no' : 'a malformed'} ${v.getDotPath(issue)}`;
}

function parseObject(body: string, contentType: string | null): Record<string, unknown> {
  const what = `${contentType?.slice(0, 60) ?? 'no content type'}, ${body.length} characters`;
  let json: unknown;
  try {
    json = parseJson(body);
  } catch (cause) {
    if (body.trim() === '') throw invalid(`nothing (${what})`, cause);
    const isPage = isWebPage(contentType) || /^\s*<(!doctype\s+html|html|head|body)\b/i.test(body);
    throw isPage
      ? invalid(`a web page in place of JSON (${what})`, cause, 'captive-portal')
      : invalid(`invalid JSON (${what})`, cause);
  }
  if (!isRecord(json)) throw invalid(`JSON that is not an object (${what})`);
  return json;
}

/** Whether a captive portal or another web server answered in place of the provisioning server. */
export function isWebPage(contentType: string | null): boolean {
  return /html/i.test(contentType ?? '');
}

function invalid(what: string, cause?: unknown, reason: Reason | null = null): OnboardingError {
  return new OnboardingError('PROVISIONING_ANSWER_INVALID', `the provisioning server answered ${what}`, {
    cause,
    reason,
  });
}
