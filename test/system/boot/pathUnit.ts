/**
 * How often a service that waits for the compose file and the token is never started, because systemd's path unit missed the
 * second of them: exported together, as onboardd does it, and one after the other. `npm run test:path-unit -- --rounds 300`;
 * needs root. docs/decisions/0014-exports.md has what it found.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { stageExport } from '../../../src/adapters/disk/exportedFile.ts';
import { freshTree, missingForTrees, NotHere, type Suite, unavailable } from './image.ts';
import { boot, type Machine } from './machine.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '300' }, suite: { type: 'string', default: 'bookworm' } },
});
const missing = missingForTrees('amd64');
if (missing.length > 0) {
  console.log(`not tested here: booting needs ${missing.join(', ')}`);
  process.exit(unavailable);
}
const { tree, remove } = freshTree('amd64', values.suite as Suite);
const folder = join(tree, 'var/lib/shared');
const started = join(tree, 'var/lib/started');
const [compose, token] = ['docker-compose.yml', 'PAT.pat'].map((name) => join(folder, name)) as [
  string,
  string,
];
const watched = ['PAT.pat', 'docker-compose.yml'].map((name) => `/var/lib/shared/${name}`);
const lines = (key: string) => watched.map((path) => `${key}=${path}\n`).join('');
mkdirSync(folder, { recursive: true });
const units = join(tree, 'etc/systemd/system');
writeFileSync(
  join(units, 'container.service'),
  `[Unit]\nStartLimitIntervalSec=0\n${lines('ConditionPathExists')}[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/touch /var/lib/started\n`,
);
writeFileSync(
  join(units, 'container.path'),
  `[Unit]\nStartLimitIntervalSec=0\n[Path]\n${lines('PathModified')}`,
);

const stage = (path: string) => stageExport(path, 'text', 0o600, null);
const ways = {
  together() {
    const files = [stage(compose), stage(token)];
    for (const file of files) file?.place();
    for (const file of files) file?.settle();
  },
  'one after the other'() {
    for (const path of [compose, token]) {
      const file = stage(path);
      file?.place();
      file?.settle();
    }
  },
};
/** Whether the service is started, with both files exported anew */
async function isStarted(machine: Machine, put: () => void): Promise<boolean> {
  await machine.run('systemctl', 'stop', 'container.path', 'container.service');
  for (const path of [compose, token, started]) rmSync(path, { force: true });
  await machine.run('systemctl', 'start', 'container.path');
  put();
  // What was missed stays missed: this is hundreds of times what a start takes.
  const deadline = performance.now() + 5000;
  while (!existsSync(started) && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 5));
  return existsSync(started);
}

const rounds = Number(values.rounds);
let machine: Machine | undefined;
try {
  machine = await boot(tree);
  const missed = { together: 0, 'one after the other': 0 };
  for (let round = 0; round < rounds; round++) {
    for (const way of ['together', 'one after the other'] as const)
      if (!(await isStarted(machine, ways[way]))) missed[way]++;
  }
  for (const [way, times] of Object.entries(missed))
    console.log(`exported ${way}: not started ${times} times of ${rounds}`);
  assert.equal(missed.together, 0);
} catch (error) {
  if (!(error instanceof NotHere)) throw error;
  console.log(`not tested here: ${error.message}`);
  process.exitCode = unavailable;
} finally {
  await machine?.powerOff();
  remove();
}
