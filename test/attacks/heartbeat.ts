import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a daemon may at most be busy for in one piece, ms: the attacks of old took 8,000 to 60,000. */
export const mostBusyMs = 3_000;

/**
 * Feels the pulse of a program's event loop: the watchdog, signals and timers all wait for it.
 *
 * @param folder of the test's own
 * @returns the environment to start the program with; and, once it ended by itself, its longest pause, ms
 */
export function heartbeat(folder: string): { env: Record<string, string>; longestPauseMs: () => number } {
  const preload = join(folder, 'heartbeat.cjs');
  const result = join(folder, 'heartbeat');
  writeFileSync(
    preload,
    `let last = performance.now(); let longest = 0;
const beat = () => { const now = performance.now(); longest = Math.max(longest, now - last); last = now; };
setInterval(beat, 20).unref();
process.on('exit', () => { beat(); require('node:fs').writeFileSync(${JSON.stringify(result)}, String(longest)); });`,
  );
  return {
    env: { NODE_OPTIONS: `--require ${preload}` },
    longestPauseMs: () => Number(readFileSync(result, 'utf8')),
  };
}
