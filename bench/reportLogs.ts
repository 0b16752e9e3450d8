import { closeSync, openSync, writeSync } from 'node:fs';
import { fleetLines } from '../test/support/fleetLogs.ts';

const devices = 10_000;
const dayMs = 86_400_000;
const chunk = 1_000_000;

/**
 * Writes the log of a fleet of at most 10,000 devices, each of which starts anew every other day: no line comes twice.
 *
 * @returns how many bytes were written
 */
export function writeBenchLog(path: string, lines: number): number {
  const template = templateOf(Math.min(devices, Math.ceil(lines / 8)));
  const file = openSync(path, 'w');
  let bytes = 0;
  let text = '';
  let left = lines;
  // The last start is that of the template: a time to come would be a wrong clock.
  for (let round = 1 - Math.ceil(lines / template.length); left > 0; round++) {
    const days = new Map<string, string>();
    for (const [before, day, after] of template) {
      if (left-- <= 0) break;
      let shifted = days.get(day);
      if (shifted === undefined) {
        shifted = new Date(Date.parse(day) + round * 2 * dayMs).toISOString().slice(0, 10);
        days.set(day, shifted);
      }
      text += before + shifted + after;
      if (text.length < chunk) continue;
      bytes += writeSync(file, text);
      text = '';
    }
  }
  bytes += writeSync(file, text);
  closeSync(file);
  return bytes;
}

/** Lines of one start, cut around the day of their time. */
function templateOf(count: number): [before: string, day: string, after: string][] {
  const all: [string, string, string][] = [];
  for (const line of fleetLines(count, 1)) {
    const at = line.indexOf('"timestamp":"') + 13;
    all.push([line.slice(0, at), line.slice(at, at + 10), `${line.slice(at + 10)}\n`]);
  }
  return all;
}
