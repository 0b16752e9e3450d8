import { followLog } from '../adapters/followLog.ts';
import { readLog } from '../adapters/logFiles.ts';
import { describe } from '../errors/onboardingError.ts';
import type { LogLine } from '../services/fleetReport/logLine.ts';
import { newLogReader } from '../services/fleetReport/readLog.ts';
import { exit } from './options.ts';

/** At most one report in this time. */
const restMs = 1000;

/**
 * Reads logs as they grow, and shows the report again whenever there are new lines.
 *
 * @returns exit status, once standard input has ended; files are followed until a signal
 */
export async function followLogs(
  paths: readonly string[],
  count: (line: LogLine | null) => void,
  show: () => Promise<unknown>,
): Promise<number> {
  let timer: NodeJS.Timeout | null = null;
  const onLine = (line: LogLine | null) => {
    count(line);
    timer ??= setTimeout(() => {
      timer = null;
      void show();
    }, restMs);
  };
  const codes = await Promise.all(
    paths.map(async (path) => {
      const chunks = path === '-' ? readLog(path, () => {}) : followLog(path);
      const reader = newLogReader(onLine);
      try {
        for await (const chunk of chunks) reader.push(chunk);
        reader.end();
        return exit.ok;
      } catch (error) {
        process.stderr.write(`onboardd: ${path}: ${describe(error)}\n`);
        return exit.failed;
      }
    }),
  );
  if (timer !== null) clearTimeout(timer);
  await show();
  return Math.max(...codes);
}
