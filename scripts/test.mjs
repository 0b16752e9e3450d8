#!/usr/bin/env node
/**
 * `npm test`: installs what is missing, then lint, types, build and tests, and stops at the first that fails.
 * `npm run test:unit`: the tests that need nothing but the npm packages.
 */
import { install, installPackages, run } from './install.mjs';

const [first, ...rest] = process.argv.slice(2);
if (first === '--unit') {
  await installPackages();
  try {
    run('vitest', ['run', '--project', 'unit', '--project', 'project', ...rest]);
    process.exit(0);
  } catch {
    process.exit(1);
  }
}
const natsServer = await install();
const steps = [
  ['lint', 'biome', ['check', '.']],
  ['types', 'tsc', ['--noEmit']],
  ['types of the page', 'tsc', ['--noEmit', '-p', 'fleet/page/browser']],
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
