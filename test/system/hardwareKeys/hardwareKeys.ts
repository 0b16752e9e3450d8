/**
 * Devices with their keys in tokens of SoftHSM: `npm run test:hardware-keys`, whole in some 5 minutes; `-- --smoke`: an
 * onboarding, a restart, a rotation, a kill within it, a wrong PIN and a reset.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { missingAfterInstalling, root } from '../../../packaging/tools.mjs';
import { makePart } from '../../../scripts/pkcs11.mjs';
import { removeDevices, temporaryFolder } from '../../support/program.ts';
import { unplayed } from '../../support/unplayed.ts';
import { enginePath } from './softToken.ts';

/** sysexits.h: what is needed is not there. */
const unavailable = 69;
const needed = ['g++', 'softhsm2-util', 'pkcs11-tool', 'strace', enginePath];
const missing = missingAfterInstalling(needed);
if (missing.length > 0) {
  console.error(`needed and not there: ${missing.join(', ')}; as root, this command installs them`);
  process.exit(unavailable);
}
console.log(`made the optional part: ${await makePart()}`);
const smoke = [
  'ec-p256 that is made',
  'a restart finds',
  'with renewal.newKey',
  'before label 8',
  'a wrong PIN',
  'reset --keep-id',
];
const chosen = process.argv.includes('--smoke') ? smoke : [];
const results = join(temporaryFolder(), 'results.json');
try {
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${results}`];
  const filter = chosen.length > 0 ? ['-t', chosen.join('|')] : [];
  const args = ['vitest', 'run', '--config', 'vitest.hardware.config.ts', ...reporters, ...filter];
  const { status } = spawnSync('npx', args, { cwd: root, stdio: 'inherit' });
  process.exitCode = status ?? 1;
  const missed = status === 0 ? unplayed(readFileSync(results, 'utf8'), chosen) : [];
  if (missed.length > 0) {
    console.error(`no test passed that is named: ${missed.join(', ')}`);
    process.exitCode = 1;
  }
} finally {
  removeDevices();
}
