import { OnboardingError } from '../../errors/onboardingError.ts';
import { formatDuration, formatTime } from '../../text/duration.ts';
import { acceptCertificate, type CertificateVerifier, clockSkewMs } from '../onboarding/acceptCertificate.ts';
import { checkClock } from '../onboarding/requestCertificate.ts';
import type { KeyReader } from '../onboarding/resume.ts';
import { type DeviceState, parseState } from '../state/deviceState.ts';
import { type HardwareId, isClone } from '../state/hardwareBinding.ts';
import { type Finding, failed, passed, skipped } from './check.ts';

/** What the disk says of the state directory. */
export interface DirectoryFacts {
  readonly exists: boolean;
  /** The directory, or the nearest above it that is there */
  readonly nearest: string;
  readonly isDirectory: boolean;
  readonly mode: number | null;
  /** Why not; null where it can be read, written */
  readonly unreadable: string | null;
  readonly unwritable: string | null;
  readonly freeBytes: number | null;
  readonly freeInodes: number | null;
}

/** State, its copies and the temporary file of the next write are smaller than this. */
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
  /** The text of `state.json`. @throws what kept it from being read */
  readonly state: () => string | null;
  readonly hardware: () => HardwareId;
}

/** The state directory and what lies in it. */
export function checkDirectory(
  folder: string,
  facts: DirectoryFacts,
  { owner, running }: DaemonFacts,
  reads: DirectoryReads,
): Finding {
  const { exists, nearest, mode, freeBytes, freeInodes } = facts;
  const asOwner = owner === null ? 'as root' : `as ${owner === 'root' ? 'root' : `root or ${owner}`}`;
  if (!facts.isDirectory) return failed('STATE_UNWRITABLE', `${nearest} is no directory`);
  if (facts.unreadable !== null) {
    return failed('STATE_UNWRITABLE', `${folder} cannot be read by this user`, `Run this check ${asOwner}.`);
  }
  if (facts.unwritable !== null) {
    const remedy = /EROFS/.test(facts.unwritable)
      ? 'Mount the disk of the state directory writable; look at `dmesg` for errors of the disk.'
      : exists
        ? `Run this check ${asOwner}; the service’s user must own the directory.`
        : `Make ${folder} for the service’s user, or let systemd do so (StateDirectory=onboardd).`;
    return failed('STATE_UNWRITABLE', `${nearest} is not writable: ${facts.unwritable}`, remedy);
  }
  if (freeBytes !== null && freeBytes < leastBytes)
    return failed('STATE_UNWRITABLE', `${nearest} has ${freeBytes} bytes free`, 'Free space on its disk.');
  if (freeInodes === 0)
    return failed('STATE_UNWRITABLE', `${nearest} has no inodes free`, 'Remove files from its disk.');
  const daemon = running === null ? '' : `, the daemon ${running ? 'runs' : 'does not run'}`;
  if (!exists) return passed(`${folder} is not there yet and can be made${daemon}`);
  try {
    const text = reads.state();
    const bound = text === null ? null : parseState(text).machine;
    if (bound !== null && isClone(bound, reads.hardware()))
      return failed('STATE_CLONED', `${folder} belongs to another machine`);
    const open =
      mode !== null && (mode & 0o077) !== 0 ? `, mode ${mode.toString(8)} (the daemon makes it 700)` : '';
    return passed(`${folder}${text === null ? ', no device in it yet' : ''}${open}${daemon}`);
  } catch (error) {
    if (!(error instanceof OnboardingError)) throw error;
    return failed(error.code, error.message);
  }
}

/** Our clock against the build, the certificate and the server's `Date`. @param server null: it told no time */
export function checkTime(
  now: number,
  builtAt: number,
  leaf: { subject: string; notBefore: Date } | undefined,
  server: { time: number; at: number } | null,
): Finding {
  const shown = formatTime(new Date(now).toISOString());
  if (server !== null) {
    const offset = server.at - server.time;
    const words = `${formatDuration(Math.abs(offset))} ${offset < 0 ? 'behind' : 'ahead of'} the provisioning server’s`;
    if (Math.abs(offset) > clockSkewMs)
      return failed(
        'CLOCK_WRONG',
        `this clock says ${shown}, ${words}`,
        'Set the clock (NTP, or `date -s`); where it is right, mend the server’s.',
      );
    if (now >= builtAt)
      return passed(`${shown}, ${Math.abs(offset) < 1500 ? 'as the provisioning server’s' : words}`);
  }
  try {
    checkClock(now, builtAt, leaf as Parameters<typeof checkClock>[2]);
  } catch (error) {
    if (!(error instanceof OnboardingError)) throw error;
    return failed('CLOCK_WRONG', error.message);
  }
  return passed(`${shown}, after this program was built; no server told its time to compare`);
}

/** Besides the state directory, what a certificate is judged by. Times in milliseconds since 1970. */
export interface CertificateContext {
  readonly now: number;
  /** Null: the server told no time */
  readonly serverTime: number | null;
  /** Of the common name, from the configuration; null if that is invalid: then the subject is not looked at */
  readonly template: string | null;
}

/** The certificate on disk: for this key, of its CA, and within its dates. */
export async function checkCertificate(
  pki: CertificateVerifier & KeyReader,
  { state, key }: { state: DeviceState | null; key: string | null },
  { now, serverTime, template }: CertificateContext,
): Promise<Finding> {
  const provisioned = state?.provisioned;
  if (!state || !provisioned) return skipped('the device has none yet');
  if (key === null)
    return failed(
      'CERTIFICATE_KEY_MISMATCH',
      'there is a certificate and no key for it',
      'Restart the daemon: it makes a key and asks for a certificate.',
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
    const late = now > Date.parse(renewAt) ? 'its renewal is due' : `renewed at ${formatTime(renewAt)}`;
    return passed(
      `${leaf.subject}, valid for ${left}, until ${formatTime(leaf.notAfter.toISOString())}, ${late}`,
    );
  } catch (error) {
    const code = error instanceof OnboardingError ? error.code : 'CERTIFICATE_KEY_MISMATCH';
    const message = error instanceof Error ? error.message : String(error);
    const own =
      code === 'CERTIFICATE_EXPIRED'
        ? 'A running daemon replaces it by itself: see that it runs and reaches the provisioning server.'
        : undefined;
    return failed(code, message, own);
  }
}
