import type { StateName } from '../../events.ts';
import { causeOf, type Problem, remedyOfLastError, type Status } from '../../services/diagnostics/status.ts';
import { formatDuration, formatTime } from '../../text/duration.ts';
import { plainText } from '../../text/plainText.ts';
import { type Line, layOut, pipe, type Terminal } from './terminal.ts';

/** What the device does in a state in which nothing has failed. */
const activities: Readonly<Record<StateName, string>> = {
  idle: 'reading the state directory',
  keygen: 'generating the key',
  csr: 'requesting a certificate from the provisioning server',
  provisioned: 'writing the files of the identity',
  registering: 'registering with the fleet manager over NATS',
  registered: 'nothing',
  failed: 'operator action needed: see remedy',
};

const labelWidth = 14;

/**
 * The verdict in one sentence, then the details.
 *
 * @param now milliseconds since 1970
 */
export function statusLines(status: Status, now: number, terminal: Terminal = pipe): string[] {
  const { state, since, lastError, certificate } = status;
  const rows: [string, string | null][] = [
    ['state', since === null ? state : `${state} for ${age(since, now)}, since ${formatTime(since)}`],
    ['waiting for', waitingFor(status, now)],
    ['last error', lastError && `${lastError.code}: ${lastError.message} (${age(lastError.at, now)} ago)`],
    ['remedy', remedyOfLastError(status)],
    ...status.problems.map((problem): [string, string] => ['problem', problemWords(problem)]),
    ['device id', status.deviceId],
    ['alias', status.alias],
    ['certificate', certificate && `${certificate.subject}, ${certificateDates(certificate, now)}`],
    ['warning', renewalWarning(status, now)],
    ['NATS', status.natsUrl],
    ['history', historyOf(status)],
    ['daemon', daemonWords(status.running)],
  ];
  const details = rows.flatMap(([name, value]): Line[] =>
    // Text from a server, or from a damaged file, must not control the terminal.
    value === null ? [] : [{ text: `${name.padEnd(labelWidth)} ${plainText(value)}`, hang: labelWidth + 1 }],
  );
  return layOut([verdictLine(status, now), ...details], terminal);
}

/** Whether the device is registered, and if not, why and what to do, in one sentence. */
function verdictLine(status: Status, now: number): Line {
  const { state, alias, lastError } = status;
  const remedy = remedyNow(status);
  const more = remedy === null ? {} : { more: plainText(`Fix: ${remedy}`) };
  // Without the full stop that separates it from the remedy, the sentence ends open.
  const sentence = (text: string) => plainText(remedy === null ? text : `${text.replace(/[.;]*$/, '')}.`);
  const [problem] = status.problems;
  if (state === 'registered') {
    const name = alias === null ? '' : ` as ${plainText(alias)}`;
    const notes = [
      ...certificateVerdict(status, now),
      ...(problem === undefined ? [] : [`${problem.code}: ${problem.message}`]),
      ...(lastError === null || lastError.code === problem?.code
        ? []
        : [`last error ${failureWords(lastError)}`]),
      ...(status.running === false ? ['the daemon is not running'] : []),
    ];
    const isWell = remedy === null && status.running !== false && !isExpired(status, now);
    return {
      text: sentence([`Registered${name}`, ...notes].join('; ')),
      ...more,
      tone: { word: 'Registered', as: isWell ? 'good' : 'warning' },
    };
  }
  if (state === 'failed') {
    const error = problem ?? lastError;
    const what = error === null ? 'see the log' : `${error.code}: ${error.message}`;
    return { text: sentence(`Failed: ${what}`), ...more, tone: { word: 'Failed', as: 'bad' } };
  }
  const why = problem === undefined ? whyNot(status, now) : `${problem.code}: ${problem.message}`;
  return {
    text: sentence(`Not registered: ${why}`),
    ...more,
    tone: { word: 'Not registered', as: 'warning' },
  };
}

/** What to do now: about this device itself first, then about the last error. */
function remedyNow(status: Status): string | null {
  const { problems, running, state } = status;
  const [problem] = problems;
  if (problem !== undefined) return problem.remedy;
  if (status.lastError !== null) return remedyOfLastError(status);
  return running === false && state !== 'registered' ? 'Start it: `systemctl start onboardd`.' : null;
}

function failureWords({ code, reason, message }: NonNullable<Status['lastError']>): string {
  return `${code}: ${causeOf(code, reason) ?? message}`;
}

function problemWords({ code, message, remedy }: Problem): string {
  return `${code}: ${message.replace(/[.;]*$/, '')}. Remedy: ${remedy}`;
}

function certificateVerdict({ certificate }: Status, now: number): string[] {
  if (certificate === null) return [];
  const left = Date.parse(certificate.notAfter) - now;
  if (left < 0) return [`certificate EXPIRED ${days(-left)} ago`];
  return [`certificate valid for ${days(left)}`];
}

function isExpired({ certificate }: Status, now: number): boolean {
  return certificate !== null && Date.parse(certificate.notAfter) < now;
}

function whyNot(status: Status, now: number): string {
  const { running, lastError, nextRetryAt, attempt } = status;
  if (running === false && lastError !== null)
    return `the daemon is not running; last error ${failureWords(lastError)}`;
  if (lastError === null) return activityOf(status, now);
  const next =
    nextRetryAt === null
      ? `trying again${attemptNumber(attempt)}`
      : `next attempt ${inTime(nextRetryAt, now)}`;
  return `waiting for ${awaited(lastError.code)} (${failureWords(lastError)}); ${next}`;
}

/** What a device does that has not failed: what it waits for, and until when at most. */
export function activityOf(status: Status, now: number): string {
  const { state, attempt, running } = status;
  if (running === false)
    return isRecorded(status)
      ? 'the daemon is not running'
      : `the daemon is not running, and ${nothingRecorded}`;
  const what = `${activities[state]}${attemptNumber(attempt)}`;
  const awaitedNow = limitOf(status, now);
  return awaitedNow === null ? what : `${what}; waiting for ${awaitedNow}`;
}

const nothingRecorded = 'no earlier start is recorded';

/** A start leaves a state, or why it ended before it could; a reset or a reboot may have removed that. */
function isRecorded({ since, lastError }: Status): boolean {
  return since !== null || lastError !== null;
}

/** What an attempt waits for, and until when at most; null: for nobody. */
function limitOf({ waitsFor }: Status, now: number): string | null {
  if (waitsFor === null || Date.parse(waitsFor.until) <= now) return null;
  return `${waitsFor.what} until ${formatTime(waitsFor.until)}`;
}

/** Whose doing it takes for an error to go away. */
function awaited(code: string): string {
  if (code.startsWith('PROVISIONING_') || code.startsWith('CERTIFICATE_')) return 'the provisioning server';
  if (code.startsWith('NATS_')) return 'the NATS server';
  if (code.startsWith('REGISTRATION_')) return 'the fleet manager';
  if (code.startsWith('CLOCK_')) return 'the clock to be set';
  if (code.startsWith('STATE_')) return 'the disk';
  return 'the next attempt';
}

/** What the device waits for and until when, in one line. */
function waitingFor(status: Status, now: number): string {
  const { state, attempt, nextRetryAt, certificate, running } = status;
  if (running === false) {
    const start = 'the daemon to be started (`systemctl start onboardd`)';
    return isRecorded(status) ? start : `${start}; ${nothingRecorded}`;
  }
  const need = state === 'failed' ? `${activities.failed}; ` : '';
  if (nextRetryAt !== null) {
    const at = Date.parse(nextRetryAt) > now ? `, at ${formatTime(nextRetryAt)}` : '';
    return `${need}next attempt ${inTime(nextRetryAt, now)}${at} (attempt ${attempt} failed)`;
  }
  if (state === 'failed') return `${need}no further attempt by itself`;
  if (state === 'registered' && certificate?.renewAt) {
    const { renewAt } = certificate;
    const at = Date.parse(renewAt) > now ? `, at ${formatTime(renewAt)}` : '';
    return `certificate renewal ${inTime(renewAt, now)}${at}`;
  }
  const what = `${activities[state]}${attemptNumber(attempt)}`;
  const awaitedNow = limitOf(status, now);
  return awaitedNow === null ? `nobody: ${what}` : `${awaitedNow}: ${what}`;
}

function attemptNumber(attempt: number | null): string {
  return attempt !== null && attempt > 1 ? ` (attempt ${attempt})` : '';
}

/** `in 12 s`, or `now` for a time that has passed. */
function inTime(time: string, now: number): string {
  const left = Date.parse(time) - now;
  return left > 0 ? `in ${formatDuration(left)}` : 'now';
}

/** Without the hours of many days. */
function days(ms: number): string {
  return formatDuration(ms).replace(/^(\d+ d) .*$/, '$1');
}

function certificateDates(
  { notBefore, notAfter, renewAt }: NonNullable<Status['certificate']>,
  now: number,
): string {
  const left = Date.parse(notAfter) - now;
  if (left < 0) return `EXPIRED ${formatDuration(-left)} ago, at ${formatTime(notAfter)}`;
  const early = Date.parse(notBefore) - now;
  const from = early > 60_000 ? `NOT VALID before ${formatTime(notBefore)}; ` : '';
  const renewal = renewAt === null ? '' : `, renewal at ${formatTime(renewAt)}`;
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

function historyOf({ history, state }: Status): string | null {
  if (history.length === 0) return null;
  return [...history.map((visit) => `${visit.state} ${formatDuration(visit.durationMs)}`), state].join(
    ' \u2192 ',
  );
}

function daemonWords(running: boolean | null): string {
  if (running === null) return 'unknown (only the service user and root can tell)';
  return running ? 'running' : 'not running';
}

/** Never negative: the clock may have been set back. */
function age(time: string, now: number): string {
  return formatDuration(now - Date.parse(time));
}
