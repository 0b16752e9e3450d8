import { OnboardingError } from '../../errors/onboardingError.ts';
import type { Renewed } from '../../machines/contracts.ts';
import { currentState, files, isoTime, type Provisioned, updateState } from '../state/deviceState.ts';
import type { Certificate, CertificateReader, KeyReader } from './acceptCertificate.ts';
import { checkClock } from './clockCheck.ts';
import { type KeyPorts, keyFor, settleKeys } from './keyRotation.ts';
import type { Identity, RegisterPorts } from './register.ts';
import {
  addressesToProve,
  datesOf,
  hashOfKey,
  mustProveAddress,
  obtainCertificate,
  opensOverTls,
  type RequestCertificateOptions,
  type RequestCertificatePorts,
  readKey,
  unexpiredLeaf,
} from './requestCertificate.ts';

export interface RenewCertificatePorts extends RequestCertificatePorts {
  /** @returns a new private key, PKCS#8 PEM */
  readonly newKey: () => Promise<string>;
}

export interface RenewCertificateOptions extends RequestCertificateOptions {
  /** `renewal.newKey`: each renewal is for a new key. */
  readonly newKey: boolean;
}

/**
 * One attempt to get a certificate that may take the place of the one that lives. It is kept beside that one, durably:
 * a kill or an outage before its trial asks for no other. From the same CA: over plain HTTP anybody could answer with a
 * CA of his own, and take a device that is the fleet's.
 *
 * @throws {OnboardingError} as `requestCertificate`; the certificate that lives then stays
 */
export async function renewCertificate(
  ports: RenewCertificatePorts,
  options: RenewCertificateOptions,
  signal: AbortSignal,
): Promise<Renewed> {
  const { directory, pki, now } = ports;
  checkClock(now(), options.builtAt);
  const present = readKey(directory);
  const state = currentState(directory);
  const renews = unexpiredLeaf(pki, state.provisioned, hashOfKey(pki, present), now());
  const key = options.newKey ? await nextKey(ports, present, signal) : present;
  const { candidate, issued } = await obtainCertificate(ports, options, { state, key, renews }, signal);
  updateState(directory, () => ({ candidate }));
  return issued;
}

/** The key of the renewal under way, durable; one that an earlier attempt left is used up first. */
async function nextKey(
  { directory, pki, newKey }: RenewCertificatePorts,
  present: string,
  signal: AbortSignal,
): Promise<string> {
  const left = directory.read(files.nextKey);
  if (left !== null && isKey(pki, left) && left !== present) return left;
  const pem = await newKey();
  signal.throwIfAborted();
  directory.write(files.nextKey, pem, 0o600);
  if (directory.read(files.nextKey) === pem) return pem;
  throw new OnboardingError('STATE_UNWRITABLE', `${files.nextKey} does not read back as it was written`);
}

function isKey(pki: KeyReader, pem: string): boolean {
  try {
    return pki.spkiSha256Of(pem) !== '';
  } catch {
    return false;
  }
}

export interface TryRenewedPorts extends KeyPorts, Pick<RegisterPorts, 'connect' | 'setTimer'> {
  readonly now: () => number;
}

/** New addresses get this long together; what is left of the connect timeout is for the one that is known. */
const newAddressesMs = 15_000;

/**
 * Opens NATS with the renewed certificate, and only then puts it in the place of the one that lives, which is kept for one
 * rollback. If that one has expired meanwhile, there is nothing to lose: the renewed one, which was accepted, is taken
 * without a trial. An address that has to prove itself is taken only once it was opened.
 *
 * @throws {OnboardingError} NATS_*, STATE_*: the certificate in use stays, and the candidate too; the signal's reason
 */
export async function tryRenewed(
  ports: TryRenewedPorts,
  options: Pick<RequestCertificateOptions, 'natsUrl' | 'authenticated'>,
  signal: AbortSignal,
): Promise<Renewed> {
  const { directory, pki, now } = ports;
  const state = currentState(directory);
  const { candidate, provisioned, deviceId } = state;
  const leaf = leafOf(pki, candidate);
  const key = candidate && keyFor(ports, candidate.certificate);
  if (candidate === null || leaf === null || key === null || provisioned === null)
    throw new OnboardingError('STATE_CORRUPT', 'the renewed certificate is gone', { class: 'transient' });
  const dates = datesOf(leaf, candidate.renewAt);
  const isProofDue = mustProveAddress(state, candidate, options);
  const withKnown = { ...candidate, natsUrl: provisioned.natsUrl };
  if (isExpired(leafOf(pki, provisioned), now())) {
    adopt(ports, isProofDue ? withKnown : candidate);
    const cause = 'the certificate expired before it could be opened';
    const addressRefused = { code: 'NATS_UNREACHABLE', cause } as const;
    return { ...dates, opened: false, ...(isProofDue && { addressRefused }) };
  }
  const identity = { ...candidate, deviceId, key, natsUrl: options.natsUrl ?? candidate.natsUrl };
  const refusal = isProofDue ? await proveAddresses(ports, identity, provisioned.natsUrl, signal) : null;
  if (isProofDue && refusal === null) {
    adopt(ports, { ...candidate, opened: true });
    return { ...dates, opened: true };
  }
  const tried = refusal === null ? identity : { ...identity, natsUrl: provisioned.natsUrl };
  const opened = await opensOverTls(ports.connect, tried, signal);
  adopt(ports, { ...(refusal === null ? candidate : withKnown), opened });
  return { ...dates, opened, ...(refusal !== null && { addressRefused: refusal }) };
}

/**
 * Opens each address that is not known; if each is, one of the list.
 *
 * @returns why they are not taken; null: all were opened
 * @throws the signal's reason
 */
async function proveAddresses(
  { connect, setTimer }: TryRenewedPorts,
  identity: Identity,
  known: string,
  signal: AbortSignal,
): Promise<Renewed['addressRefused'] | null> {
  const limit = new AbortController();
  const cancel = setTimer(newAddressesMs, () =>
    limit.abort(
      new OnboardingError('NATS_UNREACHABLE', `the new NATS address did not open in ${newAddressesMs} ms`),
    ),
  );
  try {
    for (const natsUrl of addressesToProve(identity.natsUrl, known)) {
      const isEncrypted = await opensOverTls(
        connect,
        { ...identity, natsUrl },
        AbortSignal.any([signal, limit.signal]),
      );
      if (!isEncrypted) return { code: 'NATS_NOT_SECURE', cause: 'the NATS server offers no TLS' };
    }
    return null;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof OnboardingError) || !error.code.startsWith('NATS_')) throw error;
    return { code: error.code, cause: error.message };
  } finally {
    cancel();
  }
}

/** The commit point is the write of the state; the key files follow, now or at the next start. @throws {OnboardingError} STATE_* */
function adopt(ports: TryRenewedPorts, renewed: Provisioned): void {
  const { directory, pki, now } = ports;
  const key = hashOfKey(pki, readKey(directory));
  const state = updateState(directory, ({ provisioned, pinnedCa, verifiedAt }) => ({
    provisioned: renewed,
    previous: isExpired(leafOf(pki, provisioned), now()) ? null : provisioned,
    candidate: null,
    pinnedCa: pinnedCa === null ? null : renewed.caCertificate,
    verifiedAt: renewed.opened ? isoTime(now()) : verifiedAt,
  }));
  settleKeys(ports, state, key);
}

export function isExpired(leaf: Certificate | null, now: number): boolean {
  return leaf === null || now > leaf.notAfter.getTime();
}

export function leafOf(pki: CertificateReader, provisioned: Provisioned | null): Certificate | null {
  try {
    return provisioned && (pki.parseCertificates(provisioned.certificate)[0] ?? null);
  } catch {
    return null;
  }
}
