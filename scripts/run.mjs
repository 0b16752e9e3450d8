#!/usr/bin/env node
/** Installs what is missing, builds the program, and runs a TypeScript file of the tests: the slower suites. */
import { install, run } from './install.mjs';

const natsServer = await install();
run('node', ['scripts/build.mjs']);
try {
  run('node', ['--import', 'tsx', ...process.argv.slice(2)], { NATS_SERVER: natsServer });
} catch (error) {
  process.exit(error.status ?? 1);
}
