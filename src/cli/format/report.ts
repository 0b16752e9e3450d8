import { remedyOf } from '../../services/diagnostics/status.ts';
import { quantile } from '../../services/fleetReport/distribution.ts';
import { type DeviceStory, funnel, type Report, stuck } from '../../services/fleetReport/report.ts';
import { formatDuration } from '../../text/duration.ts';
import { plainText } from '../../text/plainText.ts';

const barWidth = 30;
const mostShown = 20;

/** The report for a terminal. @param stuckAfterMs how long a device may stay in a state that is not `registered` */
export function reportLines(report: Report, stuckAfterMs: number): string[] {
  const { lines, foreign, devices, first, last, unnamed, beyond } = report;
  const span = devices.size > 0 ? `, ${day(first)} to ${day(last)} (${formatDuration(last - first)})` : '';
  const head = [
    `${number(lines)} lines, ${number(lines - foreign)} of onboardd, ${number(devices.size)} devices${span}`,
    ...(unnamed > 0 ? [`${number(unnamed)} lines were written before their device id was known`] : []),
    ...(beyond > 0
      ? [`${number(beyond)} lines are of devices past the ${number(devices.size)} that are kept`]
      : []),
  ];
  const body =
    devices.size === 0
      ? errorLines(report)
      : [
          ...funnelLines(report),
          ...stepLines(report),
          ...errorLines(report),
          ...stuckLines(stuck(report, stuckAfterMs), last, stuckAfterMs),
        ];
  // What stands in a log, and anybody may have written it, must not steer the terminal.
  return [...head, ...body].map(plainText);
}

function funnelLines(report: Report): string[] {
  const all = report.devices.size;
  const rows = funnel(report).map(({ state, reached, now }) => {
    const bar = '█'.repeat(Math.round((reached / all) * barWidth));
    return [state, number(reached), `${percent(reached, all)}`, bar.padEnd(barWidth), number(now)];
  });
  return [
    '',
    'How many devices reached each state, and how many are in it now',
    ...table([['state', 'reached', '', '', 'now'], ...rows]),
  ];
}

function stepLines({ steps, toRegistered }: Report): string[] {
  const distributions = [
    ...[...steps].filter(([state]) => state !== 'registered'),
    ['start to registered', toRegistered] as const,
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
    'How long a device stayed in a state',
    ...table([['state', 'times', 'p50', 'p95', 'max'], ...rows]),
  ];
}

function errorLines({ errors }: Report): string[] {
  const sorted = [...errors].sort(([, a], [, b]) => b.count - a.count).slice(0, mostShown);
  if (sorted.length === 0) return [];
  const rows = sorted.flatMap(([code, { count, devices, steps, cause }]) => [
    `  ${code}: ${number(count)} times, ${number(devices)} devices, in ${[...steps.keys()].join(', ') || 'the start'}`,
    ...(cause === null ? [] : [`    such as  ${cause}`]),
    ...(remedyOf(code) === null ? [] : [`    remedy   ${remedyOf(code)}`]),
  ]);
  return ['', 'Errors', ...rows];
}

function stuckLines(devices: readonly DeviceStory[], last: number, afterMs: number): string[] {
  const title = `Not registered, and in the same state for ${formatDuration(afterMs)} or more: ${number(devices.length)}`;
  const rows = devices
    .slice(0, mostShown)
    .map(({ id, state, since, lastCode, failures }) => [
      id,
      state ?? '',
      formatDuration(last - since),
      number(failures),
      lastCode ?? '',
    ]);
  const more = devices.length > mostShown ? [`  and ${number(devices.length - mostShown)} more`] : [];
  return [
    '',
    title,
    ...(rows.length > 0 ? table([['device', 'state', 'for', 'failures', 'last error'], ...rows]) : []),
    ...more,
  ];
}

/** Columns of the width of their longest entry; numbers are told by their first digit and stand to the right. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows.map((row) =>
    `  ${row.map((cell, column) => (column > 0 && /^[\d]/.test(cell) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0))).join('  ')}`.trimEnd(),
  );
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

function percent(part: number, all: number): string {
  return `${((100 * part) / all).toFixed(1)} %`;
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
}
