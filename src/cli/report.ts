import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { readLines, sizeOf } from '../adapters/logFiles.ts';
import { describe } from '../errors/onboardingError.ts';
import { parseLogLine } from '../services/fleetReport/logLine.ts';
import { addLine, newReport } from '../services/fleetReport/report.ts';
import { reportLines } from './format/report.ts';
import { reportPage } from './format/reportPage.ts';
import { isUtf8Locale, terminalOf, toAscii } from './format/terminal.ts';
import { exit } from './options.ts';

export interface ReportFlags {
  readonly html?: string;
  /** Minutes, as text */
  readonly stuckAfter?: string;
}

const barEveryBytes = 8 * 1024 * 1024;

/** `onboardd report [FILE...]`: sums up the logs of a fleet; without files, or with `-`, from standard input. */
export async function reportCommand(files: readonly string[], flags: ReportFlags): Promise<number> {
  const minutes = Number(flags.stuckAfter ?? 60);
  if (!(minutes > 0)) {
    process.stderr.write(
      `onboardd: --stuck-after is "${flags.stuckAfter}"; allowed: a number of minutes greater than 0\n`,
    );
    return exit.usage;
  }
  const paths = files.length > 0 ? files : ['-'];
  const report = newReport();
  const bar = progressBar(process.stderr.isTTY ? sizeOf(paths) : null);
  let code: number = exit.ok;
  for (const path of paths) {
    try {
      await readLines(path, (line) => line !== '' && addLine(report, parseLogLine(line)), bar.add);
    } catch (error) {
      process.stderr.write(`onboardd: ${path}: ${describe(error)}\n`);
      code = exit.failed;
    }
  }
  bar.end();
  const terminal = terminalOf(process.stdout, process.env);
  process.stdout.write(`${reportLines(report, minutes * 60_000, terminal).join('\n')}\n`);
  if (flags.html === undefined) return code;
  try {
    const sha256 = (text: string) => createHash('sha256').update(text).digest('base64');
    writeFileSync(flags.html, reportPage(report, minutes * 60_000, sha256));
  } catch (error) {
    process.stderr.write(`onboardd: ${flags.html}: ${describe(error)}\n`);
    return exit.failed;
  }
  return code;
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
