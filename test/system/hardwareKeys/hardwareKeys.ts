/**
 * Devices with their keys in tokens of SoftHSM: `npm run test:hardware-keys`, whole in some 4 minutes; `-- --smoke`: an
 * onboarding, a restart, a rotation, a wrong PIN and a reset.
 */
import { execFileSync } from 'node:child_process';
import { missingAfterInstalling, root } from '../../../packaging/tools.mjs';
import { makePart } from '../../../scripts/pkcs11.mjs';
import { enginePath } from './softToken.ts';

/** sysexits.h: what is needed is not there. */
const unavailable = 69;
const needed = ['g++', 'softhsm2-util', 'pkcs11-tool', enginePath];
const missing = missingAfterInstalling(needed);
if (missing.length > 0) {
  console.error(`needed and not there: ${missing.join(', ')}; as root, this command installs them`);
  process.exit(unavailable);
}
console.log(`made the optional part: ${await makePart()}`);
const smoke = ['-t', 'ec-p256 that is made|a restart finds|with renewal.newKey|a wrong PIN|reset --keep-id'];
const chosen = process.argv.includes('--smoke') ? smoke : [];
try {
  execFileSync('npx', ['vitest', 'run', '--config', 'vitest.hardware.config.ts', ...chosen], {
    cwd: root,
    stdio: 'inherit',
  });
} catch (error) {
  process.exit((error as { status?: number }).status ?? 1);
}
