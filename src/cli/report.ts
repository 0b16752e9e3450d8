import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { readLog, sizeOf } from '../adapters/logFiles.ts';
import { describe } from '../errors/onboardingError.ts';
import { newBlockCutter } from '../services/fleetReport/blocks.ts';
import { type Comparison, comparePeriods, periodsOf } from '../services/fleetReport/comparison.ts';
import {
  enoughBytes,
  formatOf,
  type LogFormat,
  type LogReader,
  newLogReader,
} from '../services/fleetReport/readLog.ts';
import { type Report, summarize } from '../services/fleetReport/report.ts';
import { newCounter, newTally, type Scope, type Tally } from '../services/fleetReport/tally.ts';
import { type LogCounter, newLogCounter, usualThreads } from './countLogs.ts';
import { followLogs } from './followLogs.ts';
import { reportLines } from './format/report.ts';
import { reportJson } from './format/reportJson.ts';
import { reportPage } from './format/reportPage.ts';
import { isUtf8Locale, terminalOf, toAscii } from './format/terminal.ts';
import { type Build, exit } from './options.ts';

export interface ReportFlags {
  readonly html?: string;
  /** Minutes, as text */
  readonly stuckAfter?: string;
  readonly json?: boolean;
  /** A time, or how long ago */
  readonly since?: string;
  readonly device?: string;
  readonly follow?: boolean;
  /** Two periods, see `periodsOf` */
  readonly compare?: string;
  /** A number, as text */
  readonly threads?: string;
}

const mostThreads = 64;
const barEveryBytes = 8 * 1024 * 1024;
const dayMs = 86_400_000;

/** `onboardd report [FILE...]`: sums up the logs of a fleet; without files, or with `-`, from standard input. */
export async function reportCommand(
  files: readonly string[],
  flags: ReportFlags,
  build: Pick<Build, 'builtAt'>,
): Promise<number> {
  const now = Date.now();
  const stuckAfterMs = Number(flags.stuckAfter ?? 60) * 60_000;
  const since = flags.since === undefined ? null : sinceTime(flags.since, now);
  const periods = flags.compare === undefined ? undefined : periodsOf(flags.compare);
  const threads = Number(flags.threads ?? usualThreads());
  const usage = !(Number.isInteger(threads) && threads >= 1 && threads <= mostThreads)
    ? `--threads is "${flags.threads}"; allowed: 1 to ${mostThreads}`
    : !(stuckAfterMs > 0)
      ? `--stuck-after is "${flags.stuckAfter}"; allowed: a number of minutes greater than 0`
      : since !== null && Number.isNaN(since)
        ? `--since is "${flags.since}"; allowed: a time such as 2026-11-24T06:00Z, or how long ago, such as 90m, 24h or 7d`
        : periods === null
          ? `--compare is "${flags.compare}"; allowed: two periods such as 2026-11-24T06:00/2026-11-24T07:00,2026-11-24T11:00/2026-11-24T12:00, each with its end after its beginning`
          : null;
  if (usage !== null) {
    process.stderr.write(`onboardd: ${usage}\n`);
    return exit.usage;
  }
  const scope: Scope = {
    latest: Math.max(now, build.builtAt) + dayMs,
    since,
    device: flags.device ?? null,
  };
  const paths = files.length > 0 ? files : ['-'];
  const show = (tally: Tally) => {
    const report = summarize(tally, stuckAfterMs);
    return publish(
      { report, comparison: periods ? comparePeriods(report, periods) : null },
      stuckAfterMs,
      flags,
    );
  };
  if (flags.follow === true) {
    const tally = newTally();
    return await followLogs(paths, newCounter(tally, scope), () => show(tally));
  }
  const { code, tally } = await readAll(paths, newLogCounter(scope, { threads, bytes: sizeOf(paths) }));
  return (await show(tally)) ? code : exit.failed;
}

/** Reads what can be read. @returns exit status: a file that cannot be read, or holds nothing of onboardd, is a failure */
async function readAll(
  paths: readonly string[],
  counter: LogCounter,
): Promise<{ code: number; tally: Tally }> {
  const bar = progressBar(process.stderr.isTTY ? sizeOf(paths) : null);
  const problems: (string | null)[] = [];
  const owns = paths.map(() => 0);
  for (const [index, path] of paths.entries()) {
    const onOwn = (lines: number) => {
      owns[index] = (owns[index] ?? 0) + lines;
    };
    try {
      await readOne(readLog(path, bar.add), counter, onOwn);
      problems.push(null);
    } catch (error) {
      problems.push(describe(error));
    }
  }
  const tally = await counter.end();
  bar.end();
  let code: number = exit.ok;
  for (const [index, path] of paths.entries()) {
    const problem = problems[index] ?? (owns[index] === 0 ? nothingFound : null);
    if (problem === null) continue;
    process.stderr.write(`onboardd: ${path === '-' ? 'standard input' : path}: ${problem}\n`);
    code = exit.failed;
  }
  return { code, tally };
}

const nothingFound = 'no line of onboardd is in it (JSON lines, journal, docker, Loki and GELF are read)';

/** @param onOwn receives numbers of lines that onboardd wrote */
async function readOne(
  chunks: AsyncIterable<Uint8Array>,
  counter: LogCounter,
  onOwn: (lines: number) => void,
): Promise<void> {
  const inOrder = (format: LogFormat) =>
    newLogReader((line) => {
      if (line !== null) onOwn(1);
      counter.onLine(line);
    }, format);
  const cutter = newBlockCutter();
  let reader: LogReader | null = null;
  let head: Uint8Array | null = new Uint8Array(0);
  const push = async (chunk: Uint8Array) => {
    if (reader !== null) reader.push(chunk);
    else
      for (const block of cutter.push(chunk)) {
        if (block === null) counter.onLine(null);
        else {
          await counter.take(block, onOwn);
          cutter.reuse(block);
        }
      }
  };
  const begin = async (bytes: Uint8Array) => {
    const format = formatOf(bytes);
    if (format !== 'lines') reader = inOrder(format);
    head = null;
    await push(bytes);
  };
  const rest = async () => {
    if (head !== null) await begin(head);
    (reader as LogReader | null)?.end();
    const last = cutter.end();
    if (last !== null) await counter.take(last, onOwn);
  };
  try {
    for await (const chunk of chunks) {
      if (head === null) await push(chunk);
      else {
        head = Buffer.concat([head, chunk]);
        if (head.length >= enoughBytes) await begin(head);
      }
    }
  } catch (error) {
    // What came before the damage counts; that the file is damaged says more than what its end then lacks.
    await rest().catch(() => undefined);
    throw error;
  }
  await rest();
}

/** @returns false if the page cannot be written */
async function publish(
  { report, comparison }: { readonly report: Report; readonly comparison: Comparison | null },
  stuckAfterMs: number,
  { json, html, follow }: ReportFlags,
): Promise<boolean> {
  if (json) await print(`${JSON.stringify(reportJson(report, comparison), null, follow ? 0 : 2)}\n`);
  else {
    const terminal = terminalOf(process.stdout, process.env);
    const clear = follow && process.stdout.isTTY ? '\x1b[H\x1b[2J' : '';
    await print(`${clear}${reportLines(report, stuckAfterMs, terminal, comparison).join('\n')}\n`);
  }
  if (html === undefined) return true;
  try {
    const sha256 = (text: string) => createHash('sha256').update(text).digest('base64');
    writeFileSync(html, reportPage(report, stuckAfterMs, sha256));
    return true;
  } catch (error) {
    process.stderr.write(`onboardd: ${html}: ${describe(error)}\n`);
    return false;
  }
}

/** Waits until a slow reader has taken all of it: the process ends soon after. A reader that has gone wants no more. */
function print(text: string): Promise<void> {
  return new Promise((resolve) => {
    if (process.stdout.listenerCount('error') === 0) process.stdout.on('error', () => {});
    process.stdout.write(text, () => resolve());
  });
}

const units = { s: 1000, m: 60_000, h: 3_600_000, d: dayMs, w: 7 * dayMs } as const;

/** @param text RFC 3339, a date, or a number with `s`, `m`, `h`, `d` or `w`. @returns NaN for anything else */
export function sinceTime(text: string, now: number): number {
  const [, amount, unit] = /^(\d{1,6})([smhdw])$/.exec(text) ?? [];
  if (amount !== undefined) return now - Number(amount) * units[unit as keyof typeof units];
  return /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
}

/** Drawn on a terminal if there is much to read. @param total bytes; null: no bar */
function progressBar(total: number | null) {
  let read = 0;
  let shown = 0;
  return {
    add(bytes: number) {
      read += bytes;
      if (total === null || read - shown < barEveryBytes) return;
      shown = read;
      const part = Math.min(1, read / total);
      const done = '\u2588'.repeat(Math.round(part * 30)).padEnd(30, '\u2591');
      process.stderr.write(
        `\r${isUtf8Locale(process.env) ? done : toAscii(done)} ${Math.round(part * 100)} % of ${Math.round(total / 1e6)} MB`,
      );
    },
    end() {
      if (shown > 0) process.stderr.write('\r\x1b[K');
    },
  };
}
