import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check } from '../../support/assertEqual.ts';
import { fleetLines } from '../../support/fleetLogs.ts';

/** The rsyslog snippet, its files put into `folder`: what failed is told in a file of its own, everything is kept. */
export async function tryRsyslog(folder: string): Promise<string> {
  const own = join(folder, 'rsyslog');
  mkdirSync(own, { recursive: true });
  const snippet = readFileSync(
    new URL('../../../docs/monitoring/rsyslog.conf', import.meta.url),
    'utf8',
  ).replaceAll('/var/log', own);
  const input = join(own, 'input.log');
  const [config, kept, failed] = [
    join(own, 'test.conf'),
    join(own, 'onboardd.jsonl'),
    join(own, 'onboardd-failed.log'),
  ];
  const lines = [...fleetLines(200, 11)];
  writeFileSync(input, `${lines.join('\n')}\nno line of ours\n`);
  writeFileSync(
    config,
    `global(workDirectory="${own}")\nmodule(load="imfile")\ninput(type="imfile" file="${input}" tag="onboardd:")\n${snippet}`,
  );
  const looked = spawnSync('rsyslogd', ['-N1', '-f', config], { encoding: 'utf8' });
  check(`the configuration is right: ${looked.stderr}`, looked.status, 0);
  const daemon = spawn('rsyslogd', ['-n', '-f', config, '-i', join(own, 'pid')], { stdio: 'ignore' });
  const ended = once(daemon, 'exit');
  const wanted = lines.filter((line) => JSON.parse(line).event === 'device.failed').length;
  const count = (file: string) => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0);
  try {
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`${count(kept)} of ${lines.length} lines after 20 s`)),
        20_000,
      );
      const watcher = watch(own, () => {
        if (count(kept) < lines.length || count(failed) < wanted) return;
        clearTimeout(late);
        watcher.close();
        resolve();
      });
    });
  } finally {
    daemon.kill('SIGTERM');
    await ended;
  }
  check('every line is kept', count(kept), lines.length);
  check('every failed device is told', count(failed), wanted);
  const [line = ''] = readFileSync(failed, 'utf8').split('\n');
  check(
    `with its remedy: ${line}`,
    /^\S+Z [0-9a-f]{32} REGISTRATION_REJECTED Resolve the fleet manager/.test(line),
    true,
  );
  return `${lines.length} lines, ${wanted} failed devices`;
}
