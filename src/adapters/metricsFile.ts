import { rmSync } from 'node:fs';
import { describe } from '../errors/onboardingError.ts';
import { type Problem, problemFor, reasonOfDiskError } from '../errors/reasons.ts';
import type { Status } from '../services/diagnostics/status.ts';
import { replacePublicFile } from './publicFile.ts';

export interface MetricsFile {
  /**
   * Replaces the file if anything but the time differs. Never throws: a failure is reported, and tried again next time.
   *
   * @returns why the file cannot be written; null: it is as it should be
   */
  write(status: Status): Problem | null;
  /** Counts a failed attempt; the next write tells it. */
  countFailure(code: string): void;
  /** Replaces the file with what was written last: the daemon is alive. No-op before the first write. */
  beat(): void;
  /** Says that no daemon runs from then on. No-op before the first write. */
  stop(): void;
  /**
   * Takes another path from the next write on; null: no metrics. The file that was written so far is removed: nobody keeps
   * it up to date.
   */
  use(path: string | null): void;
}

export interface MetricsOptions {
  /** Every value of `state` */
  readonly states: readonly string[];
  /** Milliseconds since 1970 */
  readonly now: () => number;
  /** Called once for each cause with which the file cannot be written */
  readonly onUnwritable: (path: string, cause: string) => void;
}

/**
 * `metrics.textfile`: what node_exporter's textfile collector reads, which takes only `*.prom`. No secrets: numbers, states
 * and error codes. Nothing in it changes as time goes by: a device at rest does not write it.
 */
export function metricsFile({ states, now, onUnwritable }: MetricsOptions): MetricsFile {
  const failures = new Map<string, number>();
  let path: string | null = null;
  let status: Status | null = null;
  let written = '';
  let problem: Problem | null = null;
  /** @param isBeat although nothing has changed */
  const write = (isBeat: boolean) => {
    if (path === null || status === null) return;
    const facts = { states, failures };
    const text = metricsText(status, { ...facts, now: 0 });
    if (text === written && !isBeat) return;
    try {
      replacePublicFile(path, metricsText(status, { ...facts, now: now() }));
      written = text;
      problem = null;
    } catch (error) {
      const cause = describe(error);
      const message = `metrics.textfile: cannot write ${path}: ${cause}`;
      if (message !== problem?.message) onUnwritable(path, cause);
      problem = problemFor('STATE_UNWRITABLE', reasonOfDiskError(error), message);
    }
  };
  return {
    write(next) {
      status = next;
      write(false);
      return problem;
    },
    countFailure(code) {
      failures.set(code, (failures.get(code) ?? 0) + 1);
    },
    beat: () => write(true),
    stop() {
      if (status === null) return;
      status = { ...status, running: false };
      write(false);
    },
    use(next) {
      if (next === path) return;
      if (path !== null && written !== '') remove(path);
      written = '';
      problem = null;
      path = next;
    },
  };
}

/** No-op if it cannot be removed: whoever changed the setting sees it there. */
function remove(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // A folder that may not be written, or a disk that has become read-only.
  }
}

interface Facts {
  /** Milliseconds since 1970 */
  readonly now: number;
  readonly states: readonly string[];
  readonly failures: ReadonlyMap<string, number>;
}

type Samples = readonly (readonly [labels: string, value: number])[];

/** In the text format of Prometheus. */
export function metricsText(status: Status, facts: Facts): string {
  const samples = samplesOf(status, facts);
  return Object.entries(help)
    .map(([name, [type, text]]) => [name, `# HELP ${name} ${text}\n# TYPE ${name} ${type}\n`] as const)
    .filter(([name]) => (samples[name]?.length ?? 0) > 0)
    .map(
      ([name, head]) =>
        `${head}${samples[name]?.map(([labels, value]) => `${name}${labels} ${value}\n`).join('')}`,
    )
    .join('');
}

const help: Readonly<Record<string, readonly [type: string, text: string]>> = {
  onboardd_info: ['gauge', 'Version of onboardd; always 1.'],
  onboardd_state: ['gauge', 'State of the device: 1 for the one that it is in.'],
  onboardd_state_since_timestamp_seconds: ['gauge', 'When this state was entered.'],
  onboardd_attempts: ['gauge', 'Attempts of the current step.'],
  onboardd_failures_total: ['counter', 'Failed attempts since the daemon started, by error code.'],
  onboardd_exports_failing: ['gauge', 'Files of `exports` that could not be written at the last attempt.'],
  onboardd_certificate_not_after_timestamp_seconds: [
    'gauge',
    "When the device's own certificate expires; less time() it is the seconds that are left.",
  ],
  onboardd_certificate_renew_at_timestamp_seconds: ['gauge', 'When it will be renewed, or was due.'],
  onboardd_running: ['gauge', 'Whether a daemon runs: 0 once it was stopped in an orderly way.'],
  onboardd_last_seen_timestamp_seconds: [
    'gauge',
    'When something last changed, or the daily heartbeat: a daemon that runs is seen once a day at least.',
  ],
};

function samplesOf(
  { state, attempt, certificate, since, version, running, problems }: Status,
  { now, states, failures }: Facts,
): Readonly<Record<string, Samples>> {
  const seconds = (time: string) => Math.floor(Date.parse(time) / 1000);
  const notAfter = certificate === null ? null : seconds(certificate.notAfter);
  const renewAt = certificate?.renewAt ?? null;
  return {
    onboardd_info: [[`{version="${label(version)}"}`, 1]],
    onboardd_state: states.map((name) => [`{state="${name}"}`, Number(name === state)]),
    onboardd_state_since_timestamp_seconds: since === null ? [] : [['', seconds(since)]],
    onboardd_attempts: [['', attempt ?? 0]],
    onboardd_failures_total: [...failures]
      .sort()
      .map(([code, amount]) => [`{code="${label(code)}"}`, amount]),
    onboardd_exports_failing: [['', problems.length]],
    onboardd_certificate_not_after_timestamp_seconds: notAfter === null ? [] : [['', notAfter]],
    onboardd_certificate_renew_at_timestamp_seconds: renewAt === null ? [] : [['', seconds(renewAt)]],
    onboardd_running: [['', Number(running === true)]],
    onboardd_last_seen_timestamp_seconds: [['', Math.floor(now / 1000)]],
  };
}

function label(text: string): string {
  return text.replace(/[^A-Za-z0-9_.+~-]/g, '_');
}
