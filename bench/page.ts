import { barPlot } from './barPlot.ts';
import type { DependencyCost } from './dependencies.ts';
import { attemptsDuring } from './diskWear.ts';
import type { LatencyRow } from './latency.ts';
import type { Measured } from './measured.ts';
import { fixed, table } from './table.ts';

const mebi = 2 ** 20;
const dayMs = 86_400_000;
/** The defaults of `retry`. */
const usualRetry = { initialMs: 1_000, maxMs: 300_000, factor: 2 };

export function latencyTable(rows: readonly LatencyRow[]): string {
  return table(
    ['key', 'program', 'median ms', 'quartiles', 'least to most', 'by Go', 'quartiles'],
    rows.map(({ keyType, name, ms, ratio }) => [
      keyType,
      name,
      fixed(ms.median),
      `${fixed(ms.lowerQuartile)} to ${fixed(ms.upperQuartile)}`,
      `${fixed(ms.least)} to ${fixed(ms.most)}`,
      ratio === null ? '' : fixed(ratio.median, 2),
      ratio === null ? '' : `${fixed(ratio.lowerQuartile, 2)} to ${fixed(ratio.upperQuartile, 2)}`,
    ]),
  );
}

export function phaseTable(rows: readonly LatencyRow[]): string {
  const timed = rows.filter(({ phases }) => phases !== null);
  const names = Object.keys(timed[0]?.phases ?? {});
  return table(
    ['key', 'program', ...names],
    timed.map(({ keyType, name, phases }) => [
      keyType,
      name,
      ...names.map((phase) => fixed(phases?.[phase] ?? 0)),
    ]),
  );
}

export function countTable({ counts, loaded, bundleBytes }: Measured): string {
  const all = counts ?? [];
  const row = (what: string, of: (one: (typeof all)[number]) => string) => [what, ...all.map(of)];
  const rows = [
    row('round trips, counted', (one) => fixed(one.roundTrips, 1)),
    row('ms more for each ms of round trip', (one) => fixed(one.timedRoundTrips, 1)),
    row('fsyncs', (one) => fixed(one.syncs)),
    row('renames', (one) => fixed(one.renames)),
    row('bytes written to the state directory', (one) => fixed(one.bytesWritten)),
    row('child processes', (one) => fixed(one.children)),
    row('child processes under systemd, about', (one) => fixed(one.childrenUnderSystemd)),
  ];
  const before = loaded
    ? `\n\nBefore the first request the checkout loads ${loaded.files} file${loaded.files === 1 ? '' : 's'} of ${loaded.bytes} bytes and ${loaded.builtins} modules of Node that an empty process does not load. The bundle has ${bundleBytes} bytes.`
    : '';
  const syncsByFile = all
    .map(
      ({ name, syncsByFile: files }) =>
        `- ${name}: ${Object.entries(files)
          .map(([file, times]) => `${file.startsWith('/') ? 'the folder above' : file} ${times}`)
          .join(', ')}`,
    )
    .join('\n');
  return `${table(['one onboarding', ...all.map(({ name }) => name)], rows)}${before}\n\nThe fsyncs by file:\n\n${syncsByFile}`;
}

export function restTable({ atRest }: Measured): string {
  return table(
    [
      'at rest',
      'PSS MiB',
      'RSS MiB',
      'by empty',
      'wake-ups/min',
      'fsyncs/min',
      'bytes/min',
      'lines/min',
      'connections',
    ],
    (atRest ?? []).map((one) => [
      one.name,
      fixed(one.pss / mebi, 1),
      fixed(one.rss / mebi, 1),
      one.ofEmpty === null ? '' : fixed(one.ofEmpty, 2),
      ...[one.wakeUps, one.syncs, one.bytesWritten, one.logLines, one.connections].map((value) =>
        fixed(value),
      ),
    ]),
  );
}

export function wearTable({ counts, failedAttempt, atRest, restWear }: Measured): string {
  const onboarding = counts?.find(({ name }) => name === 'checkout');
  const rest = atRest?.find(({ name }) => name === 'checkout');
  const attempts = attemptsDuring(dayMs, usualRetry);
  const rows: string[][] = [];
  const add = (what: string, syncs: number, bytes: number) =>
    rows.push([what, fixed(syncs), `${fixed(bytes / 1000, 1)} kB`]);
  if (onboarding) add('an onboarding', onboarding.syncs, onboarding.bytesWritten);
  if (failedAttempt) {
    add('a failed attempt', failedAttempt.syncs, failedAttempt.bytesWritten);
    add(
      `a day without provisioning: ${attempts} attempts`,
      attempts * failedAttempt.syncs,
      attempts * failedAttempt.bytesWritten,
    );
  }
  if (rest && restWear) {
    const minutes = (365 * dayMs) / 60_000;
    const { verification, renewal } = restWear;
    add('a look at rest, once a minute', rest.syncs, rest.bytesWritten);
    add('a verification, once a day', verification.syncs, verification.bytesWritten);
    add('a renewal', renewal.syncs, renewal.bytesWritten);
    add(
      'a year at rest, without renewals',
      minutes * rest.syncs + 365 * verification.syncs,
      minutes * rest.bytesWritten + 365 * verification.bytesWritten,
    );
  }
  return table(['disk wear', 'fsyncs', 'written'], rows);
}

export function dependencyTable({ dependencies }: Measured): string {
  return table(
    ['dependency', 'CPU ms to load', 'bytes bundled', 'PSS MiB', 'RSS MiB'],
    (dependencies ?? []).map(({ name, ms, bytes, pss, rss }) => [
      name,
      fixed(ms, 1),
      fixed(bytes),
      fixed(pss / mebi, 1),
      fixed(rss / mebi, 1),
    ]),
  );
}

/** Name → SVG. */
export function plots({ latency, dependencies, setting }: Measured): Map<string, string> {
  const timed = (latency ?? []).filter(({ phases }) => phases !== null);
  const subtitle = `medians of ${setting.runs} runs, ${setting.command}`;
  const made = new Map<string, string>();
  if (timed.length > 0)
    made.set(
      'performance-phases.svg',
      barPlot({
        title: 'One onboarding, from the start of the process to its end',
        subtitle,
        unit: 'ms',
        parts: Object.keys(timed[0]?.phases ?? {}),
        bars: timed.map(({ name, keyType, phases }) => ({
          name: `${name}, ${keyType}`,
          values: Object.values(phases ?? {}).map((value) => Math.max(0, value)),
        })),
      }),
    );
  if (dependencies !== null)
    for (const [file, title, unit, of] of [
      ['load', 'Time of the processor to load a dependency', 'ms', ({ ms }) => ms],
      ['bytes', 'A dependency in the bundle', 'kB', ({ bytes }) => bytes / 1000],
      ['memory', 'Memory of a dependency (PSS, garbage collected)', 'MiB', ({ pss }) => pss / mebi],
    ] satisfies [string, string, string, (cost: DependencyCost) => number][])
      made.set(
        `performance-dependencies-${file}.svg`,
        barPlot({
          title,
          subtitle: 'each alone, with all that it pulls in, over an empty program',
          unit,
          parts: [title],
          bars: dependencies.map((one) => ({ name: one.name, values: [Math.max(0, of(one))] })),
        }),
      );
  return made;
}
