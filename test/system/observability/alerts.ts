import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check } from '../../support/assertEqual.ts';
import { type Rule, rulesOf } from '../../support/monitoringQueries.ts';
import { checkLine, type Line } from '../../support/program.ts';

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

/** Minutes of a series: a value, and from when it has it. */
type Steps = readonly (readonly [fromMinute: number, value: number])[];

interface Series {
  readonly name: string;
  readonly steps: Steps;
}

interface Firing {
  readonly at: number;
  /** Who fires then: the alert's name and the device, host or code that it names */
  readonly alerts: readonly string[];
}

/**
 * Each alert of Prometheus in a replay of three days, on series that begin as the files of real daemons: it fires once, for
 * the device that it is about, and not before or after.
 *
 * @param files what daemons wrote: `registered`, `failed`, `stuck`
 */
export function tryPrometheusAlerts(folder: string, files: Readonly<Record<string, string>>): string {
  const length = 3 * 24 * 60;
  const sample = (file: string, name: string) => {
    const line = files[file]
      ?.split('\n')
      .find((text) => text.startsWith(`${name} `) || text.startsWith(`${name}{`));
    if (line === undefined) throw new Error(`${file} has no ${name}`);
    return line;
  };
  /** Every sample of a real file, for the whole replay, unless it is changed. */
  const device = (instance: string, file: string, changes: Readonly<Record<string, Steps>> = {}): Series[] =>
    (files[file] ?? '')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => {
        const [, name = '', labels = '', text = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
        const key = labels === '' ? name : `${name}{${labels}}`;
        const steps = changes[key] ?? changes[name] ?? [[0, replayed(name, Number(text))]];
        return { name: `${name}{instance="${instance}"${labels === '' ? '' : `,${labels}`}}`, steps };
      });
  const beats: Steps = [0, 1, 2].map((n) => [n * 24 * 60, n * day]);
  const alive = { onboardd_last_seen_timestamp_seconds: beats };
  const registered = 'onboardd_state{state="registered"}';
  const unregistered = {
    ...alive,
    [registered]: [
      [0, 1],
      [600, 0],
      [900, 1],
    ] as Steps,
  };
  const failures = /** From minute 2000 on it fails every minute, for 20 minutes. */ Array.from(
    { length: 20 },
    (_, n): readonly [number, number] => [2000 + n, n + 2],
  );
  const counter = sample('stuck', 'onboardd_failures_total').replace(/ .*$/, '');
  const series = [
    ...['well-1', 'well-2', 'well-3', 'well-4'].flatMap((name) => device(name, 'registered', alive)),
    ...device('left', 'registered', unregistered),
    ...device('aging', 'registered', {
      ...alive,
      onboardd_certificate_not_after_timestamp_seconds: [
        [0, day],
        [1400, 100 * day],
      ],
      onboardd_certificate_renew_at_timestamp_seconds: [
        [0, day / 2],
        [1400, 90 * day],
      ],
    }),
    ...device('stopped', 'registered', {
      ...alive,
      onboardd_running: [
        [0, 1],
        [300, 0],
        [500, 1],
      ],
    }),
    ...device('unexported', 'registered', {
      ...alive,
      onboardd_exports_failing: [
        [0, 0],
        [1500, 2],
        [1600, 0],
      ],
    }),
    ...device('silent', 'registered', {
      onboardd_last_seen_timestamp_seconds: [
        [0, 0],
        [2400, 2400 * minute],
        [2401, 2401 * minute],
        [3840, 3840 * minute],
      ],
    }),
    ...device('gone', 'registered', alive).map(({ name, steps }) => ({
      name,
      steps: [...steps.filter(([from]) => from < 60), [60, Number.NaN] as const],
    })),
    ...['storm-1', 'storm-2', 'storm-3', 'storm-4'].flatMap((name) => [
      ...device(name, 'registered', alive),
      { name: counter.replace('{', `{instance="${name}",`), steps: [[0, 1], ...failures] as Steps },
    ]),
  ];
  const firings: Firing[] = [
    { at: 30, alerts: [] },
    { at: 340, alerts: [] },
    { at: 400, alerts: ['OnboarddNotRunning stopped'] },
    { at: 650, alerts: [] },
    { at: 700, alerts: ['OnboarddNotRegistered left'] },
    { at: 1000, alerts: [] },
    { at: 1300, alerts: ['OnboarddCertificateRunsOut aging'] },
    { at: 1450, alerts: [] },
    { at: 1520, alerts: [] },
    { at: 1560, alerts: ['OnboarddExportsFailing unexported'] },
    { at: 1700, alerts: ['OnboarddGone gone', 'OnboarddSilent silent'] },
    { at: 2015, alerts: ['OnboarddGone gone', 'OnboarddSilent silent', 'OnboarddStorm'] },
    { at: 2100, alerts: ['OnboarddGone gone', 'OnboarddSilent silent'] },
    { at: 2500, alerts: ['OnboarddGone gone'] },
    { at: 3100, alerts: [] },
  ];
  return runPromtool(folder, {
    name: 'prometheus',
    rules: rulesOf('prometheus-rules.yaml'),
    series,
    length,
    firings,
  });
}

/** Timestamps of the replay count from 1970; a certificate that is good is good for all of it. */
function replayed(name: string, value: number): number {
  if (name === 'onboardd_certificate_not_after_timestamp_seconds') return 100 * day;
  if (name === 'onboardd_certificate_renew_at_timestamp_seconds') return 90 * day;
  return value;
}

/** A replayed line: minute of arrival, device, event and its fields. */
type Replayed = readonly [
  minute: number,
  device: string,
  event: string,
  fields: Readonly<Record<string, unknown>>,
];

const failed = {
  step: 'csr',
  code: 'PROVISIONING_TIMEOUT',
  reason: 'timeout',
  class: 'transient',
  cause: 'c',
};
const next = { attempt: 1, retryInMs: 1000 };
const renewing = { ...failed, ...next, step: 'renewing', state: 'registered' };
const dates = { serial: 'A1', notAfter: '2027-01-01T00:00:00Z', renewAt: '2026-12-20T00:00:00Z' };
const every = (from: number, to: number, gap: number) =>
  Array.from({ length: Math.ceil((to - from) / gap) }, (_, n) => from + n * gap);

/** Four days of a fleet: what each device logs that is not well, and when. */
function replayedLog(): Replayed[] {
  const beat = { since: '2026-11-20T06:00:00Z', notAfter: null };
  const days = 4;
  const healthy = [
    'well-1',
    'well-2',
    'well-3',
    'well-4',
    'well-5',
    'aging',
    'dying',
    'expired',
    'restless',
    'stuck',
    'broken',
  ];
  const lines: Replayed[] = healthy.flatMap((name) =>
    every(60, days * 1440, 1440).map(
      (at): Replayed => [at, name, 'daemon.heartbeat', { ...beat, state: 'registered' }],
    ),
  );
  const fail = (name: string, at: number, fields: object): Replayed => [
    at,
    name,
    'step.failed',
    { ...failed, ...next, level: 'warn', ...fields },
  ];
  lines.push([60, 'silent', 'daemon.heartbeat', { ...beat, state: 'registered' }]);
  for (const at of every(4000, days * 1440, 1000)) lines.push([at, 'silent', 'daemon.started', { pid: 1 }]);
  for (const at of every(200, 400, 50)) lines.push(fail('stuck', at, { state: 'csr' }));
  lines.push([405, 'stuck', 'device.registered', { alias: null, durationMs: 1, state: 'registered' }]);
  lines.push([
    600,
    'broken',
    'device.failed',
    { code: 'PROVISIONING_REJECTED', remedy: 'set the token', level: 'error' },
  ]);
  for (const at of every(700, 2300, 60)) lines.push(fail('aging', at, renewing));
  lines.push([2301, 'aging', 'certificate.renewed', dates]);
  for (const at of every(2400, 2500, 30)) lines.push(fail('dying', at, { ...renewing, level: 'error' }));
  lines.push([2501, 'dying', 'certificate.renewed', dates]);
  lines.push(
    fail('expired', 2700, { code: 'CERTIFICATE_EXPIRED', reason: null, class: 'permanent', state: 'csr' }),
  );
  for (const at of every(2900, 2910, 1))
    lines.push([at, 'restless', 'daemon.started', { pid: 1, state: 'idle' }]);
  for (const name of healthy.slice(0, 4))
    for (const at of every(3200, 3220, 4))
      lines.push(
        fail(name, at, { ...renewing, step: 'verifying', code: 'NATS_UNREACHABLE', reason: 'refused' }),
      );
  return lines;
}

/**
 * The rules of Loki on the counts of a replayed log. There is no Loki here: promtool evaluates them with
 * `count_over_time({…} | json | …)` put as `sum_over_time(log_lines{…}[…])`, which tries windows, joins, shares and `for`.
 */
export function tryLokiAlerts(folder: string): string {
  const counts = new Map<string, Map<number, number>>();
  for (const [at, deviceId, event, { level = 'info', ...fields }] of replayedLog()) {
    const line = {
      message: 'm',
      timestamp: new Date(at * 60_000).toISOString(),
      level,
      event,
      version: '1',
      runId: '0'.repeat(32),
      deviceId,
      ...fields,
    };
    checkLine(line as Line);
    const { state = '', step = '', code = '', remedy = '' } = fields as Record<string, string>;
    const all = { deviceId, host: `host-${deviceId}`, event, level, state, step, code, remedy };
    const labels = Object.entries(all).map(([name, value]) => `${name}="${value}"`);
    const name = `log_lines{${labels.join(',')}}`;
    const minutes = counts.get(name) ?? new Map<number, number>();
    counts.set(name, minutes.set(at, (minutes.get(at) ?? 0) + 1));
  }
  const series = [...counts].map(
    ([name, minutes]): Series => ({
      name,
      steps: [
        [0, 0] as const,
        ...[...minutes].flatMap(
          ([at, count]) =>
            [
              [at, count],
              [at + 1, 0],
            ] as const,
        ),
      ].filter(([from], index, all) => all[index + 1]?.[0] !== from),
    }),
  );
  const rules = rulesOf('loki-rules.yaml').map((rule) => ({ ...rule, expr: asPromql(rule.expr) }));
  const silent = 'OnboarddDaemonHeartbeatMissing silent';
  const firings: Firing[] = [
    { at: 100, alerts: [] },
    { at: 270, alerts: [] },
    { at: 340, alerts: ['OnboarddStepFailedForAnHour stuck'] },
    { at: 500, alerts: [] },
    { at: 610, alerts: ['OnboarddDeviceFailed broken'] },
    { at: 690, alerts: [] },
    { at: 1640, alerts: [] },
    { at: 1700, alerts: [silent] },
    { at: 2000, alerts: [silent, 'OnboarddStepFailedRenewing aging'] },
    { at: 2320, alerts: [silent] },
    { at: 2450, alerts: [silent, 'OnboarddStepFailedCertificateRunsOut dying'] },
    { at: 2600, alerts: [silent] },
    { at: 2720, alerts: [silent, 'OnboarddStepFailedCertificateExpired expired'] },
    { at: 2800, alerts: [silent] },
    { at: 2930, alerts: [silent, 'OnboarddDaemonStartedOften restless'] },
    { at: 3000, alerts: [silent] },
    { at: 3220, alerts: [silent, 'OnboarddStepFailedStorm NATS_UNREACHABLE'] },
    { at: 3300, alerts: [silent] },
    { at: 4100, alerts: [] },
  ];
  return runPromtool(folder, { name: 'loki', rules, series, length: 4 * 1440, firings });
}

/** @throws {Error} for a query that is more than counts of lines */
function asPromql(expr: string): string {
  const counted = expr.replace(
    /count_over_time\(\{job="onboardd"\} \| json((?: \| \w+!?="[^"]*")*) (\[\w+\](?: offset \w+)?)\)/g,
    (_, filters: string, range: string) =>
      `sum_over_time(log_lines{${filters.split(' | ').slice(1).join(',')}}${range}) > 0`.replace(
        /^(.*)$/,
        '($1)',
      ),
  );
  if (/count_over_time|\| json/.test(counted)) throw new Error(`not counts of lines alone: ${expr}`);
  return counted;
}

interface Replay {
  readonly name: string;
  readonly rules: readonly Rule[];
  readonly series: readonly Series[];
  /** Minutes */
  readonly length: number;
  readonly firings: readonly Firing[];
}

/** @throws {Error} with what promtool says */
function runPromtool(folder: string, { name, rules, series, length, firings }: Replay): string {
  const own = join(folder, 'alerts');
  mkdirSync(own, { recursive: true });
  const [ruleFile, testFile] = [join(own, `${name}.rules.yaml`), join(own, `${name}.test.yaml`)];
  writeFileSync(ruleFile, JSON.stringify({ groups: [{ name, rules }] }));
  const promql_expr_test = firings.map(({ at, alerts }) => ({
    expr: named,
    eval_time: `${at}m`,
    exp_samples: alerts.map((alert) => {
      const [alertname, what] = alert.split(' ');
      const more = what === undefined ? '' : `, what="${what}"`;
      return { labels: `{alertname="${alertname}"${more}}`, value: 1 };
    }),
  }));
  // Each was active for one stretch of time only: nothing flaps.
  const restarted = `count by (alertname) (changes(ALERTS_FOR_STATE[${length}m]) > 0)`;
  promql_expr_test.push({ expr: restarted, eval_time: `${length}m`, exp_samples: [] });
  const input_series = series.map(({ name, steps }) => ({ series: name, values: valuesOf(steps, length) }));
  const tests = [{ interval: '1m', input_series, promql_expr_test }];
  writeFileSync(testFile, JSON.stringify({ rule_files: [ruleFile], evaluation_interval: '1m', tests }));
  const { status, stdout, stderr } = spawnSync('promtool', ['test', 'rules', testFile], { encoding: 'utf8' });
  check(`${name}: ${stdout}${stderr}`.slice(0, 4000), status, 0);
  const fired = new Set(firings.flatMap(({ alerts }) => alerts.map((alert) => alert.split(' ')[0])));
  check(`${name}: every alert fires`, [...fired].sort(), rules.map(({ alert }) => alert).sort());
  return `${rules.length} alerts of ${name}`;
}

/** What fires, and the device, instance or code that it names. */
const named =
  'count by (alertname, what) (label_replace(label_replace(label_replace(label_replace(ALERTS{alertstate="firing"}, "what", "$1", "code", "(.+)"), "what", "$1", "instance", "(.+)"), "what", "$1", "host", "host-(.+)"), "what", "$1", "deviceId", "(.+)"))';

/** In promtool's notation. A NaN ends the series. */
function valuesOf(steps: Steps, length: number): string {
  return steps
    .map(([from, value], index) => {
      const to = steps[index + 1]?.[0] ?? length;
      if (Number.isNaN(value)) return `_x${to - from}`;
      return to - from === 1 ? `${value}` : `${value}x${to - from - 1}`;
    })
    .join(' ');
}
