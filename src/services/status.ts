import type { StateName } from '../machines/onboarding.ts';
import { parseNatsAddresses, showNatsAddress } from '../natsAddress.ts';
import type { CertificateReader } from './acceptCertificate.ts';
import { type DeviceState, parseState } from './deviceState.ts';

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
}

/** @param stateText content of `state.json`, null where there is none. @throws {OnboardingError} STATE_CORRUPT */
export function statusOf(stateText: string | null, reader: CertificateReader, version: string): Status {
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
    };
  }
  const { deviceId, progress, provisioned, registration } = parseState(stateText);
  const { state, since, attempt, nextRetryAt, lastError } = progress;
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
  };
}

/** Lines for a person. */
export function statusLines(status: Status): string[] {
  const { state, since, lastError, nextRetryAt, certificate } = status;
  const rows: [string, string | null][] = [
    ['state', since === null ? state : `${state} since ${since}`],
    ['device id', status.deviceId],
    ['alias', status.alias],
    ['next try', nextRetryAt === null ? null : `${nextRetryAt}, after attempt ${status.attempt}`],
    ['last error', lastError && `${lastError.code}: ${lastError.message} (${lastError.at})`],
    ['certificate', certificate && `${certificate.subject}, valid until ${certificate.notAfter}`],
    ['NATS', status.natsUrl],
  ];
  return rows.flatMap(([name, value]) => (value === null ? [] : [`${name.padEnd(12)} ${value}`]));
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
function shownAddress(natsUrl: string): string | null {
  try {
    return parseNatsAddresses(natsUrl).map(showNatsAddress).join(',');
  } catch {
    return null;
  }
}
