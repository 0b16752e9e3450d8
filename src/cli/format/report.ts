import { remedyOf } from '../../services/diagnostics/status.ts';
import { quantile } from '../../services/fleetReport/distribution.ts';
import {
  type DeviceStory,
  type ErrorCount,
  funnel,
  type Report,
  stuck,
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
 * @param stuckAfterMs how long a device may stay in a state that is not `registered`
 */
export function reportLines(report: Report, stuckAfterMs: number, terminal: Terminal = pipe): string[] {
  const { lines, foreign, devices, first, last, unnamed, beyond } = report;
  const span = devices.size > 0 ? `, ${day(first)} to ${day(last)} (${formatDuration(last - first)})` : '';
  const still = stuck(report, stuckAfterMs);
  const head: Line[] = [
    verdictLine(report, still.length, stuckAfterMs),
    {
      text: `${number(lines)} lines, ${number(lines - foreign)} of them from onboardd; ${several(devices.size, 'device')}${span}`,
    },
    ...(unnamed > 0 ? [{ text: `${several(unnamed, 'line')} written before the device id was known` }] : []),
    ...(beyond > 0
      ? [
          {
            text: `${number(beyond)} lines of further devices are left out; the limit is ${number(devices.size)}`,
          },
        ]
      : []),
  ];
  const body =
    devices.size === 0
      ? errorLines(report)
      : [
          ...funnelLines(report, terminal),
          ...stepLines(report),
          ...errorLines(report),
          ...stuckLines(still, last, stuckAfterMs),
        ];
  return layOut([...head, ...body].map(withoutControls), terminal);
}

/** Anybody may have written the log: its text must not control the terminal. */
function withoutControls(line: string | Line): string | Line {
  if (typeof line === 'string') return plainText(line);
  return { ...line, text: plainText(line.text) };
}

function verdictLine(report: Report, stuckNow: number, stuckAfterMs: number): Line {
  const all = report.devices.size;
  const rows = funnel(report);
  const now = (name: string) => rows.find(({ state }) => state === name)?.now ?? 0;
  const missing = all - now('registered');
  if (all === 0) {
    const word = 'No device found';
    return { text: `${word} in ${number(report.lines)} lines`, tone: { word, as: 'warning' } };
  }
  if (missing === 0) {
    const word = all === 1 ? 'The device is registered' : `All ${number(all)} devices are registered`;
    return { text: word, tone: { word, as: 'good' } };
  }
  const isBad = stuckNow > 0 || now('failed') > 0;
  const word = isBad ? 'Needs attention' : 'In progress';
  const notes = `${number(now('failed'))} failed, ${number(stuckNow)} stuck for ${formatDuration(stuckAfterMs)} or more`;
  return {
    text: `${word}: ${number(missing)} of ${several(all, 'device')} ${missing === 1 ? 'is' : 'are'} not registered${isBad ? ` (${notes})` : ''}`,
    tone: { word, as: isBad ? 'bad' : 'warning' },
  };
}

function funnelLines(report: Report, { columns }: Terminal): string[] {
  const all = report.devices.size;
  const barWidth = Math.min(widestBar, Math.max(0, (columns ?? 80) - besidesBar));
  const rows = funnel(report).map(({ state, reached, now }) => {
    const bar = '\u2588'.repeat(Math.round((reached / all) * barWidth));
    return [state, number(reached), `${percent(reached, all)}`, bar.padEnd(barWidth), number(now)];
  });
  return [
    '',
    'Devices that reached each state, and that are in it now',
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
  return ['', 'Time spent in a state', ...table([['state', 'times', 'p50', 'p95', 'max'], ...rows])];
}

function errorLines({ errors }: Report): (string | Line)[] {
  const sorted = [...errors].sort(([, a], [, b]) => b.count - a.count).slice(0, mostShown);
  if (sorted.length === 0) return [];
  const rows = sorted.flatMap(([code, error]) => {
    const { count, devices, steps, cause } = error;
    const where = [...steps.keys()].join(', ') || 'the start';
    return [
      { text: `  ${code}: ${several(count, 'time')}, ${several(devices, 'device')}, in ${where}`, hang: 4 },
      ...(cause === null ? [] : [{ text: `    example: ${cause}`, hang: 6 }]),
      ...adviceLines(code, error),
    ];
  });
  return ['', 'Errors', ...rows];
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

function stuckLines(devices: readonly DeviceStory[], last: number, afterMs: number): string[] {
  const title = `Devices stuck in one state for ${formatDuration(afterMs)} or more: ${number(devices.length)}`;
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

/** Columns as wide as their longest cell; cells that begin with a digit are aligned to the right. */
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

function several(amount: number, what: string): string {
  return `${number(amount)} ${what}${amount === 1 ? '' : 's'}`;
}

function percent(part: number, all: number): string {
  return `${((100 * part) / all).toFixed(1)} %`;
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
}
