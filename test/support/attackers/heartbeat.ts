import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Running } from '../program.ts';

/** What a daemon may at most be busy for in one piece, ms of the processor: the attacks of old took 8,000 to 60,000. */
const mostBusyMs = 3_000;
/** Of a line of the log, characters. */
const longestLine = 2_000;

export interface Heartbeat {
  /** The environment to start the program with. */
  readonly env: Record<string, string>;
  /** Stops the program: it hears that, was never busy for long, and wrote no long line. */
  stopped(program: Running): Promise<void>;
}

/**
 * Feels the pulse of a program's event loop: the watchdog, signals and timers all wait for it.
 *
 * @param folder of the test's own
 */
export function heartbeat(folder: string): Heartbeat {
  const preload = join(folder, 'heartbeat.cjs');
  const result = join(folder, 'heartbeat');
  writeFileSync(
    preload,
    `const busy = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1000; };
let last = busy(); let longest = 0;
const beat = () => { const now = busy(); longest = Math.max(longest, now - last); last = now; };
setInterval(beat, 20).unref();
process.on('exit', () => { beat(); require('node:fs').writeFileSync(${JSON.stringify(result)}, String(longest)); });`,
  );
  return {
    env: { NODE_OPTIONS: `--require ${preload}` },
    async stopped({ child, ended, lines }) {
      child.kill('SIGTERM');
      expect(await ended).toBe(0);
      expect(
        Number(readFileSync(result, 'utf8')),
        'longest work in one piece, ms of the processor',
      ).toBeLessThan(mostBusyMs);
      for (const line of lines) expect(JSON.stringify(line).length).toBeLessThan(longestLine);
    },
  };
}

/** The most memory that the program ever had, kB. */
export function peakMemory({ child }: Running): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]);
}
