#!/usr/bin/env node
/** `npm run fleet [-- OPTIONS]`: installs what is missing, builds the workbench fleet, and runs it; `-- --help` has the options. */
import { spawn } from 'node:child_process';
import { installPackages, root, run } from './install.mjs';
import { natsServer as findNatsServer } from './nats-server.mjs';

/** sysexits.h: what is needed is not there. */
const unavailable = 69;

await installPackages();
const natsServer = await findNatsServer().catch((error) => {
  console.error(error.message);
  process.exit(unavailable);
});
run('node', ['scripts/buildFleet.mjs']);
const fleet = spawn(process.execPath, ['dist/fleet/onboardd-fleet.mjs', ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, NATS_SERVER: natsServer },
});
// Ctrl-C and the end of a terminal reach the fleet too; it ends what it started, and we end with it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => fleet.kill(signal));
fleet.on('exit', (code) => process.exit(code ?? 1));
