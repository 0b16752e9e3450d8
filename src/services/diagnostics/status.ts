import { parseNatsAddresses, showNatsAddress } from '../../config/natsAddress.ts';
import { catalogue, type ErrorCode } from '../../errors/catalogue.ts';
import { isReason, reasons, remedyOf as remedyOfFailure } from '../../errors/reasons.ts';
import type { StateName } from '../../events.ts';
import type { CertificateReader } from '../onboarding/acceptCertificate.ts';
import { type DeviceState, parseState, type Visit } from '../state/deviceState.ts';

/** `status --json`: what the device is doing; unknown values are null. Times are RFC 3339. */
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
 * @param stateText content of `state.json`, null if there is none
 * @param running whether a daemon runs on the state directory; null: unknown
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

/** What was observed, in a few words; null without a reason of this version. */
export function causeOf(code: string, reason: string | null): string | null {
  if (!isReason(reason)) return null;
  const { codes, cause } = reasons[reason];
  return (codes as readonly (string | null)[]).includes(code) ? cause : null;
}

/** What to do about an error of the state or of a log; null for a code of another version. */
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

/** Built from the parsed address, so that it never holds credentials; null if it cannot be parsed. */
export function shownAddress(natsUrl: string): string | null {
  try {
    return parseNatsAddresses(natsUrl).map(showNatsAddress).join(',');
  } catch {
    return null;
  }
}
