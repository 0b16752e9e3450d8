#!/usr/bin/env node
/** `npm test`: installs what is missing, then lint, types, build and tests, and stops at the first that fails. */
import { install, run } from './install.mjs';

const natsServer = await install();
const steps = [
  ['lint', 'biome', ['check', '.']],
  ['types', 'tsc', ['--noEmit']],
  ['build', 'node', ['scripts/build.mjs']],
  ['tests', 'vitest', ['run', ...process.argv.slice(2)]],
];
for (const [name, command, args] of steps) {
  console.error(`\n> ${name}`);
  try {
    run(command, args, { NATS_SERVER: natsServer });
  } catch {
    console.error(`\n${name} failed`);
    process.exit(1);
  }
}
