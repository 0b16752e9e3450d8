#!/usr/bin/env node
/** `npm run fleet [-- OPTIONS]`: installs what is missing, builds the workbench fleet, and runs it; `-- --help` has the options. */
import { spawn } from 'node:child_process';
import { installPackages, root, run } from './install.mjs';

await installPackages();
run('node', ['scripts/buildFleet.mjs']);
const fleet = spawn(process.execPath, ['dist/fleet/onboardd-fleet.mjs', ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
});
// Ctrl-C reaches the fleet too; it ends what it started, and we end with it.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => fleet.kill(signal));
fleet.on('exit', (code) => process.exit(code ?? 1));
