import { parseNatsAddresses, showNatsAddress } from '../../config/natsAddress.ts';
import { catalogue, type ErrorCode } from '../../errors/catalogue.ts';
import { isReason, remedyOf as remedyOfFailure } from '../../errors/reasons.ts';
import type { StateName } from '../../events.ts';
import type { CertificateReader } from '../onboarding/acceptCertificate.ts';
import { type DeviceState, parseState, type Visit } from '../state/deviceState.ts';

/** `status --json`: what the device is doing; what is not known is null. Times are RFC 3339. */
export interface Status {
  readonly state: StateName;
  readonly since: string | null;
  readonly deviceId: string | null;
  readonly alias: string | null;
  readonly attempt: number | null;
  readonly nextRetryAt: string | null;
  readonly lastError: DeviceState['progress']['lastError'];
  readonly certificate: {
    readonly subject: string;
    readonly notBefore: string;
    readonly notAfter: string;
    readonly renewAt: string | null;
  } | null;
  readonly natsUrl: string | null;
  readonly version: string;
  /** Whether a daemon runs on the state directory */
  readonly running: boolean | null;
  /** The last visit of each state that was left */
  readonly history: readonly Visit[];
}

/**
 * @param stateText content of `state.json`, null where there is none
 * @param running whether a daemon runs on the state directory; null: not known
 * @throws {OnboardingError} STATE_CORRUPT
 */
export function statusOf(
  stateText: string | null,
  reader: CertificateReader,
  version: string,
  running: boolean | null,
): Status {
  if (stateText === null) {
    return {
      state: 'idle',
      since: null,
      deviceId: null,
      alias: null,
      attempt: null,
      nextRetryAt: null,
      lastError: null,
      certificate: null,
      natsUrl: null,
      version,
      running,
      history: [],
    };
  }
  const { deviceId, progress, provisioned, registration } = parseState(stateText);
  const { state, since, attempt, nextRetryAt, lastError, history } = progress;
  return {
    state,
    since,
    deviceId,
    alias: registration?.alias ?? null,
    attempt,
    nextRetryAt,
    lastError,
    certificate: provisioned ? certificateOf(reader, provisioned) : null,
    natsUrl: provisioned ? shownAddress(provisioned.natsUrl) : null,
    version,
    running,
    history,
  };
}

/** What to do about an error of the state or of a log, where its code is one of this version. */
export function remedyOf(code: string, reason: string | null = null): string | null {
  if (!Object.hasOwn(catalogue, code)) return null;
  return remedyOfFailure(code as ErrorCode, isReason(reason) ? reason : null);
}

function certificateOf(
  reader: CertificateReader,
  { certificate, renewAt }: { certificate: string; renewAt: string },
): Status['certificate'] {
  try {
    const [leaf] = reader.parseCertificates(certificate);
    if (!leaf) return null;
    const { subject, notBefore, notAfter } = leaf;
    return { subject, notBefore: notBefore.toISOString(), notAfter: notAfter.toISOString(), renewAt };
  } catch {
    return null;
  }
}

/** Rebuilt from what was understood, so that no credentials can slip through. */
export function shownAddress(natsUrl: string): string | null {
  try {
    return parseNatsAddresses(natsUrl).map(showNatsAddress).join(',');
  } catch {
    return null;
  }
}
