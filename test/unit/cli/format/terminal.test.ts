import { expect, test } from 'vitest';
import { checkLines } from '../../../../src/cli/format/check.ts';
import { reportLines } from '../../../../src/cli/format/report.ts';
import { statusLines } from '../../../../src/cli/format/status.ts';
import {
  isUtf8Locale,
  layOut,
  pipe,
  terminalOf,
  toAscii,
  wrap,
} from '../../../../src/cli/format/terminal.ts';
import type { Problem } from '../../../../src/errors/reasons.ts';
import { type Check, failed, passed, skipped } from '../../../../src/services/diagnostics/check.ts';
import type { Status } from '../../../../src/services/diagnostics/status.ts';
import { reportOf } from '../../../support/reportOf.ts';

const terminal = (columns: number) => ({ columns, colour: false, unicode: true });
const now = Date.parse('2026-11-24T12:00:00Z');
const at = (seconds: number) => new Date(now + seconds * 1000).toISOString();
const status = (change: Partial<Status> = {}): Status => ({
  state: 'csr',
  since: at(-42),
  deviceId: 'd1',
  alias: null,
  attempt: 5,
  nextRetryAt: at(12),
  lastError: {
    code: 'PROVISIONING_UNREACHABLE',
    reason: 'refused',
    message: 'the provisioning server 10.0.0.7:80: connection refused (connect ECONNREFUSED 10.0.0.7:80)',
    at: at(-2),
  },
  certificate: null,
  natsUrl: null,
  version: '1',
  running: true,
  history: [{ state: 'idle', at: at(-50), durationMs: 9 }],
  waitsFor: null,
  problems: [],
  ...change,
});
const certificate = {
  subject: 'CN=d1',
  notBefore: at(-86_400),
  notAfter: at(83.5 * 86_400),
  renewAt: at(60 * 86_400),
};
const registered = {
  state: 'registered',
  alias: 'Alpha',
  lastError: null,
  nextRetryAt: null,
  certificate,
} as const;

const invalid: Problem = {
  code: 'CONFIG_INVALID',
  reason: null,
  message: 'nonsense is 1',
  remedy: 'Correct it.',
};

const refused = { code: 'CONFIG_INVALID', reason: null, message: 'nonsense is 1', at: at(-60) };

test.each<[string, Partial<Status>, string]>([
  ['a registered device', registered, 'Registered as Alpha; certificate valid for 83 d'],
  [
    'a registered device without its daemon',
    { ...registered, running: false },
    'Registered as Alpha; certificate valid for 83 d; the daemon is not running',
  ],
  [
    'a certificate that has expired',
    { ...registered, certificate: { ...certificate, notAfter: at(-7200) } },
    'Registered as Alpha; certificate EXPIRED 2 h ago',
  ],
  [
    'a server that refuses the connection',
    {},
    'Not registered: waiting for the provisioning server (PROVISIONING_UNREACHABLE: connection refused); next attempt in 12 s. Fix: Start the server, or correct the port: the host is up, but nothing listens on this port.',
  ],
  [
    'a step that has not failed',
    { lastError: null, nextRetryAt: null, attempt: 1 },
    'Not registered: requesting a certificate from the provisioning server',
  ],
  [
    'a step that has not failed, and its limit',
    {
      ...{ lastError: null, nextRetryAt: null, attempt: 1 },
      waitsFor: { what: 'the answer of the provisioning server', until: at(10) },
    },
    'Not registered: requesting a certificate from the provisioning server; waiting for the answer of the provisioning server until 2026-11-24 12:00:10 UTC',
  ],
  [
    'an invalid configuration',
    { problems: [invalid] },
    'Not registered: CONFIG_INVALID: nonsense is 1. Fix: Correct it.',
  ],
  [
    'a registered device with an invalid configuration',
    { ...registered, problems: [invalid] },
    'Registered as Alpha; certificate valid for 83 d; CONFIG_INVALID: nonsense is 1. Fix: Correct it.',
  ],
  [
    'a daemon that is not running any more',
    { running: false },
    'Not registered: the daemon is not running; last error PROVISIONING_UNREACHABLE: connection refused. Fix: Start the server, or correct the port: the host is up, but nothing listens on this port.',
  ],
  [
    'a daemon that has left nothing',
    { since: null, running: false, lastError: null },
    'Not registered: the daemon is not running, and no earlier start is recorded. Fix: Start it: `systemctl start onboardd`.',
  ],
  [
    'a last start that ended with an invalid configuration',
    { since: null, running: false, lastError: refused },
    'Not registered: the daemon is not running; last error CONFIG_INVALID: nonsense is 1. Fix: If the configuration has been corrected since, start the daemon: `systemctl start onboardd`.',
  ],
  [
    'a configuration that still is what the last start ended with',
    { ...registered, running: false, lastError: refused, problems: [invalid] },
    'Registered as Alpha; certificate valid for 83 d; CONFIG_INVALID: nonsense is 1; the daemon is not running. Fix: Correct it.',
  ],
  [
    'a permanent failure',
    {
      state: 'failed',
      lastError: {
        code: 'REGISTRATION_REJECTED',
        reason: 'quota-exceeded',
        message: 'the fleet manager rejected the device: quota exceeded',
        at: at(-2),
      },
    },
    'Failed: REGISTRATION_REJECTED: the fleet manager rejected the device: quota exceeded. Fix: Raise the quota of the fleet, or remove devices from it that are no longer used.',
  ],
])('the first line of status is the verdict for %s', (_, change, verdict) => {
  expect(statusLines(status(change), now)[0]).toBe(verdict);
});

test('status says of a device without a daemon what is recorded of the last start, and no more', () => {
  const stopped = { since: null, running: false, lastError: null };
  const waitingFor = (change: Partial<Status>) =>
    statusLines(status({ ...stopped, ...change }), now).find((line) => line.startsWith('waiting for'));
  const start = 'waiting for    the daemon to be started (`systemctl start onboardd`)';
  expect(waitingFor({})).toBe(`${start}; no earlier start is recorded`);
  expect(waitingFor({ lastError: refused })).toBe(start);
});

test('a failed device without a next attempt needs an operator', () => {
  const lines = statusLines(status({ state: 'failed', nextRetryAt: null }), now);
  expect(lines).toContain('waiting for    operator action needed: see remedy; no further attempt by itself');
});

const check = (finding: ReturnType<typeof passed>, id: Check['id']): Check => ({
  id,
  durationMs: 12,
  ...finding,
});

test('the first line of check counts and names what failed', () => {
  const good = check(passed('valid'), 'configuration');
  expect(checkLines([good])[0]).toBe('All checks passed');
  expect(checkLines([good, check(skipped('no certificate'), 'certificate')])[0]).toBe(
    'All checks passed, 1 skipped (certificate)',
  );
  const bad = [
    check(failed('NATS_TLS', 'x'), 'nats-server'),
    check(failed('CLOCK_WRONG', 'the clock says 1970'), 'clock'),
  ];
  const lines = checkLines([good, ...bad]);
  expect(lines[0]).toBe('Needs attention: 2 of 3 checks failed (nats-server, clock)');
  expect(lines).toHaveLength(4);
});

test('a device that is not registered yet is no success, and is no fault', () => {
  const good = check(passed('valid'), 'configuration');
  const waiting = { ...failed('INTERNAL', 'not registered yet'), code: null };
  expect(checkLines([good, check(waiting, 'registration')])[0]).toBe(
    'Not registered yet; no other check failed',
  );
  expect(checkLines([check(failed('NATS_TLS', 'x'), 'nats-server'), check(waiting, 'registration')])[0]).toBe(
    'Needs attention: 2 of 2 checks failed (nats-server, registration)',
  );
});

const failure = (deviceId: string, reason: string | null, attempt = 1) =>
  JSON.stringify({
    timestamp: '2026-11-24T00:00:00.000Z',
    event: 'step.failed',
    deviceId,
    state: 'csr',
    step: 'csr',
    attempt,
    code: 'PROVISIONING_REJECTED',
    reason,
    cause: 'the provisioning server answered HTTP 503',
  });
test('the report groups errors by code, with the remedy of each of the most frequent reasons', () => {
  const report = reportOf([
    ...[1, 2, 3].map((attempt) => failure('a', 'http-503', attempt)),
    failure('b', 'http-404'),
    failure('b', null),
  ]);
  const text = reportLines(report, 3_600_000);
  expect(text[0]).toBe('In progress: 2 of 2 devices are not registered');
  const at = text.findIndex((line) => line.startsWith('  PROVISIONING_REJECTED: 5 times, 2 devices, in csr'));
  expect(text.slice(at + 2, at + 5)).toEqual([
    expect.stringMatching(/^ {4}http-503, 3 times: Wait, or check the load/),
    expect.stringMatching(/^ {4}http-404, 1 time: Correct `provisioning\.url`/),
    expect.stringMatching(/^ {4}remedy: Look up the HTTP status/),
  ]);
});

test.each([
  60, 80,
])('on a terminal of %i columns no line is wider, and later lines are indented', (columns) => {
  const lines = [
    ...statusLines(status(), now, terminal(columns)),
    ...checkLines(
      [check(failed('NATS_TLS', 'the NATS server 10.0.0.7:4222: the TLS handshake failed'), 'nats-server')],
      [],
      terminal(columns),
    ),
    ...reportLines(reportOf([failure('a', 'http-503'), failure('b', 'http-404')]), 1, terminal(columns)),
  ];
  expect(lines.filter((line) => line.length > columns)).toEqual([]);
  const remedy = lines.findIndex((line) => line.startsWith('remedy '));
  expect(lines[remedy + 1]).toMatch(/^ {15}\S/);
});

test('in a pipe no line is wrapped, and a check and its remedy are one line', () => {
  const [, line] = checkLines([check(failed('CLOCK_WRONG', 'x '.repeat(200)), 'clock')], [], pipe);
  expect(line).toContain('. Remedy: Set the clock');
});

test('wrapping keeps every word, and long words whole', () => {
  const text = `label   ${'/a/long/path'.repeat(12)} and some more words than fit in a line of this width`;
  const lines = wrap(text, 40, 8);
  expect(lines.join(' ').split(/\s+/)).toEqual(text.split(/\s+/));
  expect(lines.slice(1).every((line) => line.startsWith(' '.repeat(8)))).toBe(true);
});

test.each([
  [{}, false],
  [{ LANG: 'C' }, false],
  [{ LANG: 'en_US.UTF-8' }, true],
  [{ LANG: 'en_US.UTF-8', LC_ALL: 'C' }, false],
  [{ LANG: 'C', LC_CTYPE: 'C.utf8' }, true],
  [{ LANG: 'de_DE.UTF-8', LC_ALL: '' }, true],
])('the locale of %j is UTF-8: %s', (env, expected) => {
  expect(isUtf8Locale(env)).toBe(expected);
});

test('outside UTF-8 locales arrows, bars and ellipses are ASCII, and other text stays', () => {
  expect(toAscii('idle → csr █░ … Möhre')).toBe('idle -> csr #. ... Möhre');
  const history = statusLines(status(), now).find((line) => line.startsWith('history'));
  expect(history).toBe('history        idle 9 ms -> csr');
});

test('verdict words have colour on a terminal only, unless NO_COLOR or TERM=dumb says otherwise', () => {
  const tty = { isTTY: true, columns: 80 };
  expect(terminalOf(tty, { TERM: 'xterm' }).colour).toBe(true);
  expect(terminalOf(tty, { TERM: 'xterm', NO_COLOR: '1' }).colour).toBe(false);
  expect(terminalOf(tty, { TERM: 'xterm', NO_COLOR: '' }).colour).toBe(true);
  expect(terminalOf(tty, { TERM: 'dumb' }).colour).toBe(false);
  expect(terminalOf({}, { TERM: 'xterm', FORCE_COLOR: '1' })).toMatchObject({ colour: false, columns: null });
  const line = { text: 'fail  clock', tone: { word: 'fail', as: 'bad' } } as const;
  expect(layOut([line], { columns: 80, colour: true, unicode: true })).toEqual([
    '\x1b[31mfail\x1b[39m  clock',
  ]);
  expect(layOut([line], terminal(80))).toEqual(['fail  clock']);
});
