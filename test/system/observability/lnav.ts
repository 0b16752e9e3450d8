import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { check } from '../../support/assertEqual.ts';
import { fleetLines } from '../../support/fleetLogs.ts';

/** The lnav format: a log is recognised, its fields are columns, its levels are levels. */
export function tryLnav(folder: string): string {
  const formats = join(folder, 'lnav', 'formats', 'onboardd');
  mkdirSync(formats, { recursive: true });
  copyFileSync(
    fileURLToPath(new URL('../../../docs/monitoring/onboardd.lnav.json', import.meta.url)),
    join(formats, 'onboardd.json'),
  );
  const log = join(folder, 'lnav.log');
  const lines = [...fleetLines(100, 9)];
  writeFileSync(log, `${lines.join('\n')}\n`);
  const run = (...commands: string[]) =>
    execFileSync(
      'lnav',
      ['-n', '-I', join(folder, 'lnav'), ...commands.flatMap((command) => ['-c', command]), log],
      {
        encoding: 'utf8',
        env: { ...process.env, HOME: folder, TERM: 'xterm' },
      },
    );
  const parsed = lines.map((line) => JSON.parse(line));
  const query = (sql: string) => JSON.parse(run(`;${sql}`, ':write-json-to -').replace(/^[^[]*/, ''));
  const failures = parsed.filter(({ event }) => event === 'step.failed').length;
  check('events are a column', query("SELECT count(*) AS n FROM onboardd_log WHERE event = 'step.failed'"), [
    { n: failures },
  ]);
  check(
    'a warning is a warning',
    query("SELECT DISTINCT log_level AS l FROM onboardd_log WHERE event = 'step.failed'"),
    [{ l: 'warning' }],
  );
  const longest = Math.max(...parsed.map(({ durationMs = 0 }) => durationMs));
  check('durations are numbers', query('SELECT max(durationMs) AS n FROM onboardd_log'), [{ n: longest }]);
  check('devices are operations', query('SELECT count(DISTINCT log_opid) AS n FROM onboardd_log'), [
    { n: 100 },
  ]);
  const [first = ''] = run().split('\n');
  check(
    `a line for people: ${first}`,
    /^\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO +[0-9a-f]{8} idle +daemon\.started/.test(first),
    true,
  );
  return `${lines.length} lines by ${execFileSync('lnav', ['-V'], { encoding: 'utf8' }).trim()}`;
}
