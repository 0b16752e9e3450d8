import { OnboardingError } from '../../errors/onboardingError.ts';
import { type Reason, reasonOfDiskError } from '../../errors/reasons.ts';
import { formatDuration, formatTime } from '../../text/duration.ts';
import {
  acceptCertificate,
  type CertificateVerifier,
  clockSkewMs,
  type KeyReader,
} from '../onboarding/acceptCertificate.ts';
import { checkClock } from '../onboarding/clockCheck.ts';
import { type DeviceState, parseState } from '../state/deviceState.ts';
import { type HardwareId, isClone } from '../state/hardwareBinding.ts';
import { type Finding, failed, failedBy, failedFor, passed, skipped } from './check.ts';

/** Facts of the disk about the state directory. */
export interface DirectoryFacts {
  readonly exists: boolean;
  /** The directory, or its nearest parent that exists */
  readonly nearest: string;
  readonly isDirectory: boolean;
  readonly mode: number | null;
  /** Why it cannot be read or written; null if it can */
  readonly unreadable: string | null;
  readonly unwritable: string | null;
  readonly freeBytes: number | null;
  readonly freeInodes: number | null;
}

/** The state, its copies and the temporary file of the next write need less than this. */
const leastBytes = 256 * 1024;

/** The service that the state directory belongs to. */
export interface DaemonFacts {
  /** Name of its user; null: not known */
  readonly owner: string | null;
  /** Whether a daemon runs on the directory; null: not known */
  readonly running: boolean | null;
}

/** What is read only once the directory turns out to be usable. */
export interface DirectoryReads {
  /** The text of `state.json`. @throws if it cannot be read */
  readonly state: () => string | null;
  readonly hardware: () => HardwareId;
}

/** The state directory and its content. */
export function checkDirectory(
  folder: string,
  facts: DirectoryFacts,
  { owner, running }: DaemonFacts,
  reads: DirectoryReads,
): Finding {
  const { exists, nearest, mode, freeBytes, freeInodes } = facts;
  const asOwner = owner === null ? 'as root' : `as ${owner === 'root' ? 'root' : `root or ${owner}`}`;
  if (!facts.isDirectory)
    return failedFor('STATE_UNWRITABLE', 'no-such-path', `${nearest} is not a directory`);
  if (facts.unreadable !== null) {
    const what = `${folder} cannot be read by this user`;
    return failedFor('STATE_UNWRITABLE', 'no-permission', what, `Run this check ${asOwner}.`);
  }
  if (facts.unwritable !== null) {
    const reason = reasonIn(facts.unwritable);
    const remedy = exists
      ? `Run this check ${asOwner}; the service's user must own the directory.`
      : `Create ${folder} for the service's user, or let systemd create it (StateDirectory=onboardd).`;
    const what = `${nearest} is not writable: ${facts.unwritable}`;
    return failedFor('STATE_UNWRITABLE', reason, what, reason === 'no-permission' ? remedy : undefined);
  }
  if (freeBytes !== null && freeBytes < leastBytes)
    return failedFor('STATE_UNWRITABLE', 'disk-full', `${nearest} has ${freeBytes} bytes free`);
  if (freeInodes === 0) return failedFor('STATE_UNWRITABLE', 'disk-full', `${nearest} has no inodes free`);
  const daemon = running === null ? '' : `, daemon ${running ? 'running' : 'not running'}`;
  if (!exists) return passed(`${folder} does not exist yet and can be created${daemon}`);
  try {
    const text = reads.state();
    const bound = text === null ? null : parseState(text).machine;
    if (bound !== null && isClone(bound, reads.hardware()))
      return failed('STATE_CLONED', `${folder} was copied from another machine`);
    const open =
      mode !== null && (mode & 0o077) !== 0 ? `, mode ${mode.toString(8)} (the daemon sets it to 700)` : '';
    return passed(`${folder}${text === null ? ', no identity yet' : ''}${open}${daemon}`);
  } catch (error) {
    if (!(error instanceof OnboardingError)) throw error;
    return failedBy(error);
  }
}

/** The reason of the system error that a text names (`EROFS: read-only file system`). */
function reasonIn(text: string): Reason | null {
  const [code] = /\bE[A-Z]{2,}\b/.exec(text) ?? [];
  return reasonOfDiskError({ code });
}

/** Compares the clock with the build, the certificate and the server's `Date`. @param server null: it sent none */
export function checkTime(
  now: number,
  builtAt: number,
  leaf: { subject: string; notBefore: Date } | undefined,
  server: { time: number; at: number } | null,
): Finding {
  const shown = formatTime(new Date(now).toISOString());
  if (server !== null) {
    const offset = server.at - server.time;
    const words = `${formatDuration(Math.abs(offset))} ${offset < 0 ? 'behind' : 'ahead of'} the provisioning server's`;
    if (Math.abs(offset) > clockSkewMs)
      return failed(
        'CLOCK_WRONG',
        `the clock says ${shown}, ${words}`,
        "Set the clock (NTP, or `date -s`); if it is right, set the server's.",
      );
    if (now >= builtAt)
      return passed(`${shown}, ${Math.abs(offset) < 1500 ? "same as the provisioning server's" : words}`);
  }
  try {
    checkClock(now, builtAt, leaf as Parameters<typeof checkClock>[2]);
  } catch (error) {
    if (!(error instanceof OnboardingError)) throw error;
    return failed('CLOCK_WRONG', error.message);
  }
  return passed(`${shown}, after this program was built; no server time to compare with`);
}

/** Besides the state directory, what a certificate is judged by. Times in milliseconds since 1970. */
export interface CertificateContext {
  readonly now: number;
  /** Null: the server sent no time */
  readonly serverTime: number | null;
  /** Template of the common name, from the configuration; null if that is invalid: then the subject is not checked */
  readonly template: string | null;
}

/** Checks that the certificate on disk is for this key, chains to its CA, and is within its dates. */
export async function checkCertificate(
  pki: CertificateVerifier & KeyReader,
  { state, key }: { state: DeviceState | null; key: string | null },
  { now, serverTime, template }: CertificateContext,
): Promise<Finding> {
  const provisioned = state?.provisioned;
  if (!state || !provisioned) return skipped('the device has no certificate yet');
  if (key === null)
    return failed(
      'CERTIFICATE_KEY_MISMATCH',
      'the key of the certificate does not exist',
      'Restart the daemon: it generates a key and requests a certificate.',
    );
  try {
    const { certificate, caCertificate, renewAt } = provisioned;
    const [own] = pki.parseCertificates(certificate);
    const commonName = template?.replaceAll('{id}', state.deviceId) ?? own?.commonNames[0] ?? '';
    const expected = {
      key,
      spkiSha256: pki.spkiSha256Of(key),
      deviceId: state.deviceId,
      commonName,
      now,
      serverTime,
      trusted: null,
      fleetCa: null,
      renews: null,
    };
    const { signal } = new AbortController();
    const { leaf } = await acceptCertificate(pki, { certificate, caCertificate }, expected, signal);
    const left = formatDuration(leaf.notAfter.getTime() - now);
    const late = now > Date.parse(renewAt) ? 'its renewal is due' : `renewal at ${formatTime(renewAt)}`;
    return passed(
      `${leaf.subject}, valid for ${left}, until ${formatTime(leaf.notAfter.toISOString())}, ${late}`,
    );
  } catch (error) {
    const code = error instanceof OnboardingError ? error.code : 'CERTIFICATE_KEY_MISMATCH';
    const message = error instanceof Error ? error.message : String(error);
    const own =
      code === 'CERTIFICATE_EXPIRED'
        ? 'Start the daemon and let it reach the provisioning server: it replaces the certificate by itself.'
        : undefined;
    return failed(code, message, own);
  }
}
