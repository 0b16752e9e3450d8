import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { check } from '../../support/assertEqual.ts';
import { fleetLines } from '../../support/fleetLogs.ts';
import { programFile } from '../../support/program.ts';

const mostSeconds = 30;
const mostMegabytes = 500;

/** A million and two million lines of 10,000 devices: in seconds, and in memory that does not grow with the lines. */
export function tryMillion(folder: string): string {
  mkdirSync(folder, { recursive: true });
  const results = [1_000_000, 2_000_000].map((lines) => {
    const log = join(folder, 'long.log');
    const megabytes = writeFleetLog(log, 10_000, lines) / 1e6;
    // What the process itself took at most, as the kernel counted it (kB).
    const probe = "process.on('exit', () => process.stderr.write('peak ' + process.resourceUsage().maxRSS))";
    const args = [
      '--import',
      `data:text/javascript,${encodeURIComponent(probe)}`,
      programFile,
      'report',
      log,
      '--html',
      join(folder, 'long.html'),
    ];
    const begun = performance.now();
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    const seconds = (performance.now() - begun) / 1000;
    const peak = Number(/peak (\d+)/.exec(stderr)?.[1]) / 1000;
    rmSync(log);
    check(`exit status (${stderr.slice(0, 300)})`, status, 0);
    // Below the verdict
    check('every line is counted', stdout.includes(`\n${lines.toLocaleString('en-US')} lines, `), true);
    check(`${lines} lines take less than ${mostSeconds} s`, seconds < mostSeconds, true);
    check(`${lines} lines take less than ${mostMegabytes} MB (${peak})`, peak < mostMegabytes, true);
    return `${lines.toLocaleString('en-US')} lines (${megabytes.toFixed(0)} MB) with the page in ${seconds.toFixed(1)} s, peak memory ${peak.toFixed(0)} MB`;
  });
  return results.join('; ');
}

/** Lines of a fleet whose devices start again and again, as over months. @returns how many bytes were written */
function writeFleetLog(path: string, devices: number, lines: number): number {
  const file = openSync(path, 'w');
  let bytes = 0;
  for (let written = 0; written < lines; ) {
    let text = '';
    for (const line of fleetLines(devices, 1)) {
      text += `${line}\n`;
      if (++written >= lines) break;
      if (text.length < 1_000_000) continue;
      bytes += writeSync(file, text);
      text = '';
    }
    bytes += writeSync(file, text);
  }
  closeSync(file);
  return bytes;
}
