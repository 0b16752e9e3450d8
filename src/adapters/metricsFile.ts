import { chmodSync, renameSync, writeFileSync } from 'node:fs';
import type { Status } from '../services/diagnostics/status.ts';

export interface MetricsFile {
  /** Replaces the file. No-op without a path. @throws {Error} */
  write(status: Status, now: number): void;
}

/**
 * `metrics.textfile`: what node_exporter's textfile collector reads, which takes only `*.prom`. No secrets: numbers, states
 * and error codes.
 *
 * @param path null: no metrics
 * @param states every value of `state`
 */
export function metricsFile(path: string | null, states: readonly string[]): MetricsFile {
  const failures = new Map<string, number>();
  let lastFailure = '';
  return {
    write(status, now) {
      if (path === null) return;
      const { lastError } = status;
      const failure = lastError === null ? '' : `${lastError.code} ${lastError.at}`;
      if (lastError !== null && failure !== lastFailure)
        failures.set(lastError.code, (failures.get(lastError.code) ?? 0) + 1);
      lastFailure = failure;
      const temporary = `${path}.tmp`;
      writeFileSync(temporary, metricsText(status, { now, states, failures }), { mode: 0o644 });
      // The umask took the rights of others away.
      chmodSync(temporary, 0o644);
      renameSync(temporary, path);
    },
  };
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
  onboardd_certificate_not_after_timestamp_seconds: ['gauge', "When the device's certificate expires."],
  onboardd_certificate_expiry_seconds: [
    'gauge',
    "Seconds until the device's certificate expires, when this file was written.",
  ],
  onboardd_last_seen_timestamp_seconds: ['gauge', 'When onboardd last wrote this file.'],
};

function samplesOf(
  { state, attempt, certificate, since, version }: Status,
  { now, states, failures }: Facts,
): Readonly<Record<string, Samples>> {
  const seconds = (time: string) => Math.floor(Date.parse(time) / 1000);
  const nowSeconds = Math.floor(now / 1000);
  const notAfter = certificate === null ? null : seconds(certificate.notAfter);
  return {
    onboardd_info: [[`{version="${label(version)}"}`, 1]],
    onboardd_state: states.map((name) => [`{state="${name}"}`, Number(name === state)]),
    onboardd_state_since_timestamp_seconds: since === null ? [] : [['', seconds(since)]],
    onboardd_attempts: [['', attempt ?? 0]],
    onboardd_failures_total: [...failures]
      .sort()
      .map(([code, amount]) => [`{code="${label(code)}"}`, amount]),
    onboardd_certificate_not_after_timestamp_seconds: notAfter === null ? [] : [['', notAfter]],
    onboardd_certificate_expiry_seconds: notAfter === null ? [] : [['', notAfter - nowSeconds]],
    onboardd_last_seen_timestamp_seconds: [['', nowSeconds]],
  };
}

function label(text: string): string {
  return text.replace(/[^A-Za-z0-9_.+~-]/g, '_');
}
