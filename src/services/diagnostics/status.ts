import { parseNatsAddresses, showNatsAddress } from '../../config/natsAddress.ts';
import { catalogue, type ErrorCode } from '../../errors/catalogue.ts';
import { redact } from '../../errors/onboardingError.ts';
import {
  isReason,
  type Problem,
  problemFor,
  reasons,
  remedyOf as remedyOfFailure,
} from '../../errors/reasons.ts';
import type { StateName } from '../../events.ts';
import type { CertificateReader } from '../onboarding/acceptCertificate.ts';
import {
  type DeviceState,
  type Progress,
  type PublishedProblem,
  parseState,
  type Visit,
} from '../state/deviceState.ts';
import type { Finding } from './check.ts';

/** `status --json`: what the device is doing; unknown values are null. Times are RFC 3339. */
export interface Status {
  readonly state: StateName;
  readonly since: string | null;
  readonly deviceId: string | null;
  readonly alias: string | null;
  readonly attempt: number | null;
  readonly nextRetryAt: string | null;
  readonly lastError: Progress['lastError'];
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
  /** What an attempt that has not failed waits for, and until when at most */
  readonly waitsFor: { readonly what: string; readonly until: string } | null;
  /** What is wrong on this device: its configuration, its disk, the owner of the state, a file for other programs */
  readonly problems: readonly Problem[];
}

export type { Problem };

/** The failures among what was found; a finding that says nothing new is left out. */
export function problemsOf(findings: readonly Finding[]): Problem[] {
  const failures = findings.flatMap(({ verdict, code, reason, detail, remedy }) =>
    verdict === 'fail' && code !== null ? [{ code, reason, message: detail, remedy: remedy ?? '' }] : [],
  );
  return failures.filter(
    ({ code, message }, index) =>
      !failures.some(
        (earlier, at) => at < index && earlier.code === code && earlier.message.includes(message),
      ),
  );
}

/** Who asks for a status. */
export interface StatusContext {
  readonly reader: CertificateReader;
  /** Of the program that shows the status */
  readonly version: string;
  /** Whether a daemon runs on the state directory; null: not known */
  readonly running: boolean | null;
}

/**
 * @param stateText content of `state.json`, null if there is none
 * @param recall what a daemon published last of the device, of one without an id for null; null: nothing that can be read
 * @throws {OnboardingError} STATE_CORRUPT
 */
export function statusOf(
  stateText: string | null,
  recall: (deviceId: string | null) => Progress | null,
  context: StatusContext,
): Status {
  const state = stateText === null ? null : parseState(stateText);
  if (state !== null) return describeStatus(state, progressOf(state, recall), context);
  // A daemon that could not make an id says why; one that is gone left nothing that counts.
  return describeStatus(null, (context.running === true && recall(null)) || nothingBegun, context);
}

/** What the daemon published last of the device; else what an older version kept, or what the facts say. */
export function progressOf(state: DeviceState, recall: (deviceId: string) => Progress | null): Begun {
  const { deviceId, registration, provisioned } = state;
  const kept = recall(deviceId) ?? state.progress;
  if (kept !== null) return kept;
  if (registration !== null)
    return { ...nothingBegun, state: 'registered', since: registration.at, attempt: 1 };
  return provisioned === null ? nothingBegun : { ...nothingBegun, state: 'provisioned' };
}

type Begun = Omit<Progress, 'since' | 'attempt'> & Pick<Status, 'since' | 'attempt'>;

const nothingBegun: Begun = {
  state: 'idle',
  since: null,
  attempt: null,
  nextRetryAt: null,
  lastError: null,
  history: [],
  waitsFor: null,
  problems: [],
};

/**
 * @param state null if there is none, or it cannot be read
 * @param progress in place of the one in the state
 */
export function describeStatus(
  state: Pick<DeviceState, 'deviceId' | 'provisioned' | 'registration'> | null,
  progress: Begun,
  { reader, version, running }: StatusContext,
): Status {
  const provisioned = state?.provisioned ?? null;
  return {
    state: progress.state,
    since: progress.since,
    deviceId: state?.deviceId ?? null,
    alias: state?.registration?.alias ?? null,
    attempt: progress.attempt,
    nextRetryAt: progress.nextRetryAt,
    lastError: progress.lastError && {
      ...progress.lastError,
      message: redact(progress.lastError.message),
    },
    certificate: provisioned && certificateOf(reader, provisioned),
    natsUrl: provisioned && shownAddress(provisioned.natsUrl),
    version,
    running,
    history: progress.history,
    waitsFor: progress.waitsFor ?? null,
    problems: (progress.problems ?? []).flatMap(publishedProblem),
  };
}

/** With the remedy of this version; nothing for a code of another one. */
function publishedProblem({ code, reason, message }: PublishedProblem): Problem[] {
  if (!Object.hasOwn(catalogue, code)) return [];
  return [problemFor(code as ErrorCode, isReason(reason) ? reason : null, redact(message))];
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

/** What to do about the last error; an invalid configuration may have been corrected since the start that it ended. */
export function remedyOfLastError({
  lastError,
  running,
}: Pick<Status, 'lastError' | 'running'>): string | null {
  if (lastError === null) return null;
  if (running === false && lastError.code === 'CONFIG_INVALID')
    return 'If the configuration has been corrected since, start the daemon: `systemctl start onboardd`.';
  return remedyOf(lastError.code, lastError.reason);
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
