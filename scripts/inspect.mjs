#!/usr/bin/env node
/** `npm run inspect`: installs what is missing, and runs test/support/inspect/inspect.ts. */
import { spawn } from 'node:child_process';
import { install, root } from './install.mjs';

const natsServer = await install();
const inspect = spawn(process.execPath, ['--import', 'tsx', 'test/support/inspect/inspect.ts'], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, NATS_SERVER: natsServer },
});
// Ctrl-C reaches it too; it ends what it started, and we end with it.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => inspect.kill(signal));
inspect.on('exit', (code) => process.exit(code ?? 1));
