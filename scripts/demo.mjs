#!/usr/bin/env node
/** `npm run demo [-- --devices N]`: installs what is missing, builds the program, and runs test/support/demo.ts. */
import { spawn } from 'node:child_process';
import { installPackages, root, run } from './install.mjs';
import { natsServer as findNatsServer } from './nats-server.mjs';

await installPackages();
const natsServer = await findNatsServer();
run('node', ['scripts/build.mjs']);
const demo = spawn(process.execPath, ['--import', 'tsx', 'test/support/demo.ts', ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, NATS_SERVER: natsServer },
});
// Ctrl-C reaches the demo too; it ends what it started, and we end with it.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => demo.kill(signal));
demo.on('exit', (code) => process.exit(code ?? 1));
