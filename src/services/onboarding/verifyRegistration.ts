import { OnboardingError } from '../../errors/onboardingError.ts';
import type { GivenUp } from '../../machines/contracts.ts';
import {
  currentState,
  type DeviceState,
  isoTime,
  type StateDirectory,
  updateState,
} from '../state/deviceState.ts';
import { keyFor, rollBack, settleKeys } from './keyRotation.ts';
import { leave } from './leaveRegistration.ts';
import { isExpired, leafOf, type TryRenewedPorts } from './renewCertificate.ts';
import { hashOfKey, opensOverTls, type RequestCertificateOptions, readKey } from './requestCertificate.ts';

const dayMs = 86_400_000;

export type VerifyPorts = Pick<TryRenewedPorts, 'directory' | 'pki' | 'connect' | 'now'>;

/**
 * Opens NATS with the certificate in use and records it: whatever it replaced is then needed no more.
 *
 * A server whose certificate is from another CA may be that of a fleet that has replaced its CA: the renewal, which brings
 * that CA, is then due at once. Only a provisioning server or a CA that the configuration vouches for is asked for it.
 *
 * @throws {OnboardingError} NATS_*, STATE_*; the signal's reason
 */
export async function verifyRegistration(
  ports: VerifyPorts,
  options: Pick<RequestCertificateOptions, 'natsUrl' | 'authenticated' | 'fleetCa'>,
  signal: AbortSignal,
): Promise<void> {
  const { directory, pki, connect, now } = ports;
  const { deviceId, provisioned } = currentState(directory);
  if (provisioned === null) throw new OnboardingError('STATE_CORRUPT', 'the certificate is gone');
  const key = readKey(directory);
  const natsUrl = options.natsUrl ?? provisioned.natsUrl;
  const identity = { ...provisioned, deviceId, key, natsUrl };
  const isEncrypted = await opensOverTls(connect, identity, signal).catch((error: unknown) => {
    const isOfOtherCa = error instanceof OnboardingError && error.reason === 'tls-untrusted';
    if (isOfOtherCa && (options.authenticated || options.fleetCa !== null)) bringRenewalForward(ports);
    throw error;
  });
  const state = updateState(directory, () => ({
    provisioned: { ...provisioned, opened: provisioned.opened || isEncrypted },
    previous: null,
    verifiedAt: isoTime(now()),
  }));
  settleKeys(ports, state, hashOfKey(pki, key));
}

/**
 * A renewed certificate of the CA in use cannot open a server of another CA either, and makes room for another request: once
 * it is a day old, since whoever is in the server's place must not make the device ask without end.
 *
 * @throws {OnboardingError} STATE_*
 */
function bringRenewalForward(ports: VerifyPorts): void {
  const { directory, pki, now } = ports;
  const { provisioned, candidate } = currentState(directory);
  if (provisioned === null) return;
  const issuedAt = leafOf(pki, candidate)?.notBefore.getTime() ?? 0;
  const isOutdated = candidate?.caCertificate === provisioned.caCertificate && now() - issuedAt >= dayMs;
  const isDue = Date.parse(provisioned.renewAt) <= now();
  if (isDue && !isOutdated) return;
  const key = hashOfKey(pki, readKey(directory));
  const state = updateState(directory, () => ({
    provisioned: isDue ? provisioned : { ...provisioned, renewAt: isoTime(now()) },
    ...(isOutdated && { candidate: null }),
  }));
  settleKeys(ports, state, key);
}

/**
 * Brings back the certificate that was replaced, if it lives; else leaves the registration, and marks the certificate as
 * one to be replaced. Id and key stay, and so does the certificate until another one is there: the fleet may change its mind.
 *
 * @throws {OnboardingError} STATE_*
 */
export function giveUpCertificate(ports: Pick<VerifyPorts, 'directory' | 'pki' | 'now'>): GivenUp {
  const { directory, pki, now } = ports;
  const { previous } = currentState(directory);
  const leaf = leafOf(pki, previous);
  const key = hashOfKey(pki, readKey(directory));
  if (previous !== null && leaf !== null && !isExpired(leaf, now()) && keyFor(ports, previous.certificate)) {
    settleKeys(ports, rollBack(directory), key);
    return { rolledBackTo: leaf.notAfter.toISOString() };
  }
  settleKeys(ports, leaveRegistration(directory), key);
  return { rolledBackTo: null };
}

function leaveRegistration(directory: StateDirectory): DeviceState {
  return updateState(directory, (state) => ({
    ...leave(state),
    provisioned: state.provisioned && { ...state.provisioned, opened: false, refused: true },
    candidate: null,
    previous: null,
  }));
}
