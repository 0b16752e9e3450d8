/**
 * How often systemd's path unit misses the second of two exported files, so that the service that waits for both is never
 * started: placed together, in the order that `deliverResult()` is tested for, and one after the other. Needs root;
 * docs/decisions/0014-exports.md has what it found.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { stageExport } from '../../../src/adapters/disk/exportedFile.ts';
import { freshTree, missingForTrees, type Suite, sayNotHere, unavailable } from './image.ts';
import { boot, type Machine } from './machine.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '300' }, suite: { type: 'string', default: 'bookworm' } },
});
const rounds = Number(values.rounds);
const folder = 'var/lib/shared';
/** In the order in which they are placed */
const names = ['docker-compose.yml', 'PAT.pat'];
const started = 'var/lib/started';

const missing = missingForTrees('amd64');
if (missing.length > 0) {
  console.log(`not tested here: booting needs ${missing.join(', ')}`);
  process.exit(unavailable);
}
let remove = () => {};
let machine: Machine | undefined;
try {
  const fresh = freshTree('amd64', values.suite as Suite);
  remove = fresh.remove;
  layOut(fresh.tree);
  machine = await boot(fresh.tree);
  const missed = { together: 0, 'one after the other': 0 };
  for (let round = 0; round < rounds; round++) {
    if (!(await isStarted(machine, fresh.tree, together))) missed.together++;
    if (!(await isStarted(machine, fresh.tree, oneAfterTheOther))) missed['one after the other']++;
  }
  for (const [way, times] of Object.entries(missed))
    console.log(`placed ${way}: not started ${times} times of ${rounds}`);
  assert.equal(missed.together, 0);
} catch (error) {
  sayNotHere(error);
} finally {
  await machine?.powerOff();
  remove();
}

/** The container service of the fleet's devices, which may be started as often as this suite likes */
function layOut(tree: string): void {
  const lines = (key: string) => names.map((name) => `${key}=/${folder}/${name}\n`).join('');
  const put = (unit: string, text: string) =>
    writeFileSync(join(tree, 'etc/systemd/system', unit), `[Unit]\nStartLimitIntervalSec=0\n${text}`);
  mkdirSync(join(tree, folder), { recursive: true });
  put(
    'container.service',
    `${lines('ConditionPathExists')}[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/touch /${started}\n`,
  );
  put('container.path', `[Path]\n${lines('PathModified')}`);
}

function stage(path: string) {
  return stageExport(path, 'text', 0o600, null);
}

function together(paths: readonly string[]): void {
  const files = paths.map(stage);
  for (const file of files) file?.place();
  for (const file of files) file?.settle();
}

function oneAfterTheOther(paths: readonly string[]): void {
  for (const path of paths) together([path]);
}

/** Whether the service is started once both files are there anew */
async function isStarted(here: Machine, tree: string, place: typeof together): Promise<boolean> {
  const paths = names.map((name) => join(tree, folder, name));
  const flag = join(tree, started);
  await here.run('systemctl', 'stop', 'container.path', 'container.service');
  for (const path of [...paths, flag]) rmSync(path, { force: true });
  await here.run('systemctl', 'start', 'container.path');
  place(paths);
  // What was missed stays missed: this is hundreds of times what a start takes.
  const deadline = performance.now() + 5000;
  while (!existsSync(flag) && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 5));
  return existsSync(flag);
}
