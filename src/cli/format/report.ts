import { remedyOf } from '../../services/diagnostics/status.ts';
import type { Comparison, Period } from '../../services/fleetReport/comparison.ts';
import { quantile } from '../../services/fleetReport/distribution.ts';
import {
  devicesThat,
  type ErrorCount,
  funnel,
  type Report,
  topErrors,
  topReasons,
} from '../../services/fleetReport/report.ts';
import { formatDuration } from '../../text/duration.ts';
import { plainText } from '../../text/plainText.ts';
import { type Line, layOut, pipe, type Terminal } from './terminal.ts';

const widestBar = 30;
/** Columns of the funnel's table besides its bar */
const besidesBar = 45;
const mostShown = 20;
const mostReasons = 3;

/**
 * The report as text: the verdict first.
 *
 * @param stuckAfterMs as the report was made with
 */
export function reportLines(
  report: Report,
  stuckAfterMs: number,
  terminal: Terminal = pipe,
  comparison: Comparison | null = null,
): string[] {
  const lists =
    report.devices.length === 0
      ? []
      : [
          ...deviceLines(
            report,
            'stuck',
            `Devices not registered for ${formatDuration(stuckAfterMs)} or more`,
            terminal,
          ),
          ...deviceLines(report, 'silent', 'Devices that have gone silent', terminal),
        ];
  const body =
    report.devices.length === 0
      ? errorLines(report)
      : [
          ...funnelLines(report, terminal),
          ...stepLines(report, terminal),
          ...errorLines(report),
          ...versionLines(report, terminal),
          ...lists,
        ];
  const compared = comparison === null ? [] : comparisonLines(comparison, terminal);
  return layOut([...headLines(report, stuckAfterMs), ...compared, ...body].map(withoutControls), terminal);
}

function headLines(report: Report, stuckAfterMs: number): Line[] {
  const { lines, foreign, duplicates, devices, first, last, unnamed, beyond, replaced, wrongClock } = report;
  const span =
    first === null || last === null
      ? ''
      : `, ${day(first)} to ${day(last)} (${formatDuration(last - first)})`;
  const own = lines - foreign;
  const notes: [number, string][] = [
    [duplicates, `${several(duplicates, 'line')} read before, counted once`],
    [unnamed, `${several(unnamed, 'line')} written before the device id was known`],
    [replaced, `${several(replaced, 'device id')} replaced by a reset, counted as the device that it is now`],
    [
      wrongClock.lines,
      `${several(wrongClock.lines, 'line')} with a wrong clock, of ${several(wrongClock.devices, 'device')}: left out of all times of day`,
    ],
    [
      beyond,
      `${number(beyond)} lines of further devices are left out; the limit is ${number(devices.length)}`,
    ],
  ];
  return [
    verdictLine(report, stuckAfterMs),
    {
      text: `${several(lines, 'line')}, ${number(own)} of them from onboardd; ${several(devices.length, 'device')}${span}`,
    },
    ...notes.filter(([amount]) => amount > 0).map(([, text]) => ({ text })),
  ];
}

/** Anybody may have written the log: its text must not control the terminal. */
function withoutControls(line: string | Line): string | Line {
  if (typeof line === 'string') return plainText(line);
  return { ...line, text: plainText(line.text) };
}

function verdictLine(report: Report, stuckAfterMs: number): Line {
  const all = report.devices.length;
  const [stuckNow, silentNow] = [devicesThat(report, 'stuck').length, devicesThat(report, 'silent').length];
  const rows = funnel(report);
  const now = (name: string) => rows.find(({ state }) => state === name)?.now ?? 0;
  const missing = all - now('registered');
  if (all === 0) {
    const word = 'No device found';
    return { text: `${word} in ${several(report.lines, 'line')}`, tone: { word, as: 'warning' } };
  }
  if (missing === 0 && silentNow === 0) {
    const word = all === 1 ? 'The device is registered' : `All ${number(all)} devices are registered`;
    return { text: word, tone: { word, as: 'good' } };
  }
  const isBad = stuckNow > 0 || silentNow > 0 || now('failed') > 0;
  const word = isBad ? 'Needs attention' : 'In progress';
  const notes = `${number(now('failed'))} failed, ${number(stuckNow)} stuck for ${formatDuration(stuckAfterMs)} or more, ${number(silentNow)} silent`;
  return {
    text: `${word}: ${number(missing)} of ${several(all, 'device')} ${missing === 1 ? 'is' : 'are'} not registered${isBad ? ` (${notes})` : ''}`,
    tone: { word, as: isBad ? 'bad' : 'warning' },
  };
}

function funnelLines(report: Report, { columns }: Terminal): (string | Line)[] {
  const all = report.devices.length;
  const barWidth = Math.min(widestBar, Math.max(0, (columns ?? 80) - besidesBar));
  const rows = funnel(report).map(({ state, reached, now }) => {
    const bar = '\u2588'.repeat(Math.round((reached / all) * barWidth));
    return [state, number(reached), `${percent(reached, all)}`, bar.padEnd(barWidth), number(now)];
  });
  return [
    '',
    'Devices that reached each state, and that are in it now',
    ...table([['state', 'reached', '', '', 'now'], ...rows], pipe),
  ];
}

function stepLines({ steps, toRegistered, restarts }: Report, terminal: Terminal): (string | Line)[] {
  const distributions = [
    ...[...steps].filter(([state]) => state !== 'registered'),
    ['start to registered', toRegistered] as const,
    ['restart to registered', restarts] as const,
  ];
  const rows = distributions
    .filter(([, { count }]) => count > 0)
    .map(([name, distribution]) => [
      name,
      number(distribution.count),
      formatDuration(quantile(distribution, 0.5)),
      formatDuration(quantile(distribution, 0.95)),
      formatDuration(distribution.max),
    ]);
  if (rows.length === 0) return [];
  return [
    '',
    'Time spent in a state',
    ...table([['state', 'times', 'p50', 'p95', 'max'], ...rows], terminal),
  ];
}

function errorLines(report: Report): (string | Line)[] {
  const sorted = topErrors(report).slice(0, mostShown);
  if (sorted.length === 0) return [];
  const rows = sorted.flatMap(([code, error]) => {
    const { count, devices, steps, cause } = error;
    const where = [...steps.keys()].sort().join(', ') || 'the start';
    return [
      { text: `  ${code}: ${several(count, 'time')}, ${several(devices, 'device')}, in ${where}`, hang: 4 },
      ...(cause === null ? [] : [{ text: `    example: ${cause.value}`, hang: 6 }]),
      ...adviceLines(code, error),
    ];
  });
  const failing = report.devices.filter(({ failures }) => failures > 0).length;
  const who =
    failing === 0
      ? ''
      : `: ${number(failing)} of ${several(report.devices.length, 'device')} failed at least once`;
  return ['', `Errors${who}`, ...rows];
}

/** Failures an hour (`/h`), since periods may differ in length, and how many devices had any. */
function comparisonLines({ periods, stepMs, rows }: Comparison, terminal: Terminal): (string | Line)[] {
  const [first, second] = periods;
  const cells = rows
    .slice(0, mostShown)
    .map(({ kind, name, counts, devices }) => [
      kind === 'failures' ? 'all failures' : kind === 'version' ? `version ${name}` : (name ?? 'registered'),
      ...periods.flatMap((period, index) => [rate(counts[index] ?? 0, period), number(devices[index] ?? 0)]),
    ]);
  const head = ['', '1st/h', 'devices', '2nd/h', 'devices'];
  return [
    '',
    {
      text: `Two periods: ${day(first[0])} to ${day(first[1])}, and ${day(second[0])} to ${day(second[1])}, failures an hour (/h) and devices, in steps of ${formatDuration(stepMs)}`,
      hang: 2,
    },
    ...(rows.length === 0
      ? ['  no failure, and no registration, in either of them']
      : table([head, ...cells], terminal)),
  ];
}

function rate(amount: number, [from, to]: Period): string {
  const hourly = (amount * 3_600_000) / (to - from);
  return hourly === 0 || hourly >= 9.95 ? number(Math.round(hourly)) : hourly.toFixed(hourly < 0.095 ? 2 : 1);
}

/** The remedy of each of the most frequent reasons; that of the code for failures without a reason. */
function adviceLines(code: string, error: ErrorCount): Line[] {
  const top = topReasons(error, mostReasons);
  const named = [...error.reasons.values()].reduce((sum, times) => sum + times, 0);
  const byReason = top.map(([reason, times]) => {
    const remedy = remedyOf(code, reason);
    return {
      text: `    ${reason}, ${several(times, 'time')}${remedy === null ? '' : `: ${remedy}`}`,
      hang: 6,
    };
  });
  const remedy = error.count > named ? remedyOf(code) : null;
  return [...byReason, ...(remedy === null ? [] : [{ text: `    remedy: ${remedy}`, hang: 6 }])];
}

/** Which version fails: a bad build shows here. No lines if no version is known. */
function versionLines({ versions }: Report, terminal: Terminal): (string | Line)[] {
  if ([...versions.keys()].every((version) => version === '')) return [];
  const rows = [...versions].map(([version, { devices, registered, failing, failures }]) => [
    version === '' ? 'unknown' : version,
    number(devices),
    percent(registered, devices),
    percent(failing, devices),
    number(failures),
  ]);
  const head = ['version', 'devices', 'registered', 'failed once', 'failures'];
  return ['', 'Versions', ...table([head, ...rows.slice(-mostShown)], terminal)];
}

function deviceLines(
  report: Report,
  standing: 'stuck' | 'silent',
  title: string,
  terminal: Terminal,
): (string | Line)[] {
  const devices = devicesThat(report, standing);
  const rows = devices
    .slice(0, mostShown)
    .map(({ id, host, state, unregisteredMs, failures, lastCode, last, isStopped }) => [
      id ?? `host ${host ?? ''}`,
      state ?? '',
      formatDuration(unregisteredMs),
      last === null ? 'wrong clock' : `${day(last)}${isStopped ? ', stopped' : ''}`,
      number(failures),
      lastCode ?? '',
    ]);
  const more = devices.length > mostShown ? [`  and ${number(devices.length - mostShown)} more`] : [];
  const head = ['device', 'state', 'unregistered', 'last seen', 'failures', 'last error'];
  return [
    '',
    `${title}: ${number(devices.length)}`,
    ...(rows.length > 0 ? table([head, ...rows], terminal) : []),
    ...more,
  ];
}

/** Columns as wide as their longest cell, numbers to the right. What is wider than the terminal becomes a sentence for each row. */
function table(rows: readonly (readonly string[])[], { columns }: Terminal): (string | Line)[] {
  const [head = [], ...body] = rows;
  const widths = head.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const isWide = widths.reduce((sum, width) => sum + width + 2, 0) > (columns ?? Number.POSITIVE_INFINITY);
  if (isWide) return body.map((row) => ({ text: `  ${sentence(head, row)}`, hang: 4 }));
  return rows.map((row) =>
    `  ${row.map((cell, column) => (column > 0 && isNumber(cell) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0))).join('  ')}`.trimEnd(),
  );
}

/** `first cell: head cell, head cell`, without the empty ones */
function sentence(head: readonly string[], [first = '', ...cells]: readonly string[]): string {
  const parts = cells.map((cell, index) => (cell === '' ? '' : `${head[index + 1]} ${cell}`));
  return `${first}: ${parts.filter((part) => part !== '').join(', ')}`;
}

/** An amount or a duration; a date begins at the left. */
function isNumber(cell: string): boolean {
  return /^\d/.test(cell) && !/^\d{4}-/.test(cell);
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

function several(amount: number, what: string): string {
  return `${number(amount)} ${what}${amount === 1 ? '' : 's'}`;
}

function percent(part: number, all: number): string {
  return `${((100 * part) / all).toFixed(1)} %`;
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
}
