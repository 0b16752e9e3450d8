import type { StateName } from '../../events.ts';
import { remedyOf, type Status } from '../../services/diagnostics/status.ts';
import { formatDuration, formatTime } from '../../text/duration.ts';
import { plainText } from '../../text/plainText.ts';

/** What a state is about while nothing has failed. */
const doings: Readonly<Record<StateName, string>> = {
  idle: 'reading the state directory',
  keygen: 'making the key',
  csr: 'asking the provisioning server for a certificate',
  provisioned: 'checking and delivering the certificate',
  registering: 'asking the fleet over NATS, and waiting for its answer',
  registered: 'nothing',
  failed: 'somebody who mends what is named below',
};

/**
 * Lines for a person: what the device is doing, what it waits for, and what to do.
 *
 * @param now milliseconds since 1970
 */
export function statusLines(status: Status, now: number): string[] {
  const { state, since, lastError, certificate } = status;
  const rows: [string, string | null][] = [
    ['state', since === null ? state : `${state} for ${age(since, now)}, since ${formatTime(since)}`],
    ['waits for', waitsFor(status, now)],
    ['last error', lastError && `${lastError.code}: ${lastError.message} (${age(lastError.at, now)} ago)`],
    ['remedy', lastError && remedyOf(lastError.code, lastError.reason)],
    ['device id', status.deviceId],
    ['alias', status.alias],
    ['certificate', certificate && `${certificate.subject}, ${certificateDates(certificate, now)}`],
    ['warning', renewalWarning(status, now)],
    ['NATS', status.natsUrl],
    ['way', way(status)],
    ['daemon', daemonWords(status.running)],
  ];
  // What came from a server, or from a damaged file, must not steer the terminal.
  return rows.flatMap(([name, value]) => (value === null ? [] : [`${name.padEnd(12)} ${plainText(value)}`]));
}

/** What the device waits for and until when, in one line. */
function waitsFor({ state, attempt, nextRetryAt, certificate, running, since }: Status, now: number): string {
  if (running === false) {
    const start = 'the daemon to be started (`systemctl start onboardd`)';
    return since === null ? `${start}: nothing has begun` : start;
  }
  if (nextRetryAt !== null) {
    const left = Date.parse(nextRetryAt) - now;
    const when = left > 0 ? `in ${formatDuration(left)}, at ${formatTime(nextRetryAt)}` : 'now';
    return `the next try, ${when} (attempt ${attempt} failed)`;
  }
  if (state === 'failed') return `${doings.failed}: it does not try again by itself`;
  if (state === 'registered' && certificate?.renewAt) {
    const left = Date.parse(certificate.renewAt) - now;
    const when = left > 0 ? `in ${formatDuration(left)}, at ${formatTime(certificate.renewAt)}` : 'now';
    return `the renewal of its certificate, ${when}`;
  }
  return `${doings[state]}${attempt !== null && attempt > 1 ? ` (attempt ${attempt})` : ''}`;
}

function certificateDates(
  { notBefore, notAfter, renewAt }: NonNullable<Status['certificate']>,
  now: number,
): string {
  const left = Date.parse(notAfter) - now;
  if (left < 0) return `EXPIRED ${formatDuration(-left)} ago, at ${formatTime(notAfter)}`;
  const early = Date.parse(notBefore) - now;
  const from = early > 60_000 ? `NOT VALID before ${formatTime(notBefore)}; ` : '';
  const renewal = renewAt === null ? '' : `, renewed at ${formatTime(renewAt)}`;
  return `${from}valid for ${formatDuration(left)}, until ${formatTime(notAfter)}${renewal}`;
}

/** A certificate that is due, and whose renewal has failed since. */
function renewalWarning({ state, certificate, lastError }: Status, now: number): string | null {
  if (state !== 'registered' || certificate === null || certificate.renewAt === null) return null;
  const [due, end] = [Date.parse(certificate.renewAt), Date.parse(certificate.notAfter)];
  const wasTried = lastError !== null && Date.parse(lastError.at) >= due;
  if (!wasTried || now > end) return null;
  return `the certificate expires in ${formatDuration(end - now)} and could not be renewed`;
}

function way({ history, state }: Status): string | null {
  if (history.length === 0) return null;
  return [...history.map((visit) => `${visit.state} ${formatDuration(visit.durationMs)}`), state].join(' → ');
}

function daemonWords(running: boolean | null): string {
  if (running === null) return 'not known: only its own user and root can tell';
  return running ? 'runs' : 'does not run';
}

/** A clock that was set back makes no negative ages. */
function age(time: string, now: number): string {
  return formatDuration(now - Date.parse(time));
}
