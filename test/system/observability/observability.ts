import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { tryLokiAlerts, tryPrometheusAlerts } from './alerts.ts';
import { installForeignPrograms } from './foreignPrograms.ts';
import { tryLnav } from './lnav.ts';
import { tryMillion } from './millionLines.ts';
import { tryPage } from './pageInBrowser.ts';
import { tryPrometheus } from './prometheus.ts';
import { tryRsyslog } from './rsyslog.ts';

/**
 * The slower checks of what is seen from outside, each with a real foreign program: a million lines, chromium, lnav,
 * Prometheus, rsyslog. `npm run test:observability [-- --keep FOLDER]` keeps the page and its pictures. What is missing is
 * installed from Debian's packages; what cannot be installed is left out, which is said, and the exit status is 69.
 */
const { values } = parseArgs({
  options: { keep: { type: 'string' }, only: { type: 'string', default: '' } },
});
const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'seen-'));
const tries: [name: string, needs: string | null, run: (folder: string) => Promise<string> | string][] = [
  ['a million lines', null, tryMillion],
  ['the page in a browser', 'chromium', tryPage],
  ['the lnav format', 'lnav', tryLnav],
  ['Prometheus and node_exporter', 'prometheus-node-exporter', tryMetrics],
  ['the alerts on a replayed log', 'promtool', tryLokiAlerts],
  ['the rsyslog snippet', 'rsyslogd', tryRsyslog],
];

async function tryMetrics(folder: string): Promise<string> {
  const { files, summary } = await tryPrometheus(folder);
  return `${summary}; ${tryPrometheusAlerts(folder, files)}`;
}

const unavailable = 69;
const missing = await installForeignPrograms();
let [failed, leftOut] = [0, 0];
for (const [name, needs, run] of tries.filter(([name]) => name.includes(values.only))) {
  if (needs !== null && missing.includes(needs)) {
    console.log(`${name}: left out, there is no ${needs} and it cannot be installed`);
    leftOut++;
    continue;
  }
  try {
    console.log(`${name}: passed: ${await run(folder)}`);
  } catch (error) {
    console.log(`${name}: FAILED: ${error instanceof Error ? error.message : error}`);
    failed++;
  }
}
if (values.keep === undefined) rmSync(folder, { recursive: true, force: true });
process.exit(failed > 0 ? 1 : leftOut > 0 ? unavailable : 0);
