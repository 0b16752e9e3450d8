import type { Configured } from './options.ts';

/** A configuration that changes faster than it is read is judged in the end. */
const mostReadings = 10;

/**
 * Reads the configuration, and an invalid one again until it is valid or says the same twice. systemd's path unit misses what
 * changes while it starts the service: of two files that are written one right after the other the first would start the
 * daemon, and the second, without which it is invalid, would leave it down.
 *
 * @param pause waits between two readings
 */
export async function settledConfiguration(
  read: () => Promise<Configured>,
  pause: () => Promise<unknown>,
): Promise<Configured> {
  let last = await read();
  for (let readings = 1; 'problems' in last && readings < mostReadings; readings++) {
    await pause();
    const next = await read();
    if ('problems' in next && next.problems.join('\n') === last.problems.join('\n')) return next;
    last = next;
  }
  return last;
}
