import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { at, fleetWith, launch } from '../../support/harness.ts';
import { runToEnd } from '../../support/program.ts';

test('the daemon stays after it registered and ends with 0 at SIGTERM', async () => {
  const fleet = await fleetWith();
  const program = launch(at(fleet));
  await program.until((line) => line.event === 'device.registered');
  program.child.kill('SIGTERM');
  expect(await program.ended).toBe(0);
  expect(program.lines.at(-1)).toMatchObject({ event: 'daemon.stopped', signal: 'SIGTERM' });
});

test('told to stop while it still loads its modules, it ends with 0, says so, and begins nothing', async () => {
  const fleet = await fleetWith();
  const preload = join(fleet.dir, 'stop.cjs');
  writeFileSync(preload, whileLoading('SIGTERM', 'node:http'));
  const device = at(fleet);
  const program = launch(device, [], { NODE_OPTIONS: `--require ${preload}` });
  expect(await program.ended).toBe(0);
  expect(program.lines.at(-1)).toMatchObject({ event: 'daemon.stopped', signal: 'SIGTERM' });
  expect(existsSync(join(device.stateDir, 'state.json'))).toBe(false);
});

test('the other commands end by the signal, as commands do', async () => {
  const fleet = await fleetWith();
  const preload = join(fleet.dir, 'stop.cjs');
  writeFileSync(preload, whileLoading('SIGINT', 'node:readline/promises'));
  const { signal } = runToEnd(['reset', '--yes', '--config', at(fleet).configFile], {
    NODE_OPTIONS: `--require ${preload}`,
  });
  expect(signal).toBe('SIGINT');
});

/** A preload that sends the signal when the program loads a module that the command needs late. */
function whileLoading(signal: NodeJS.Signals, late: string): string {
  return `const loader = require('node:module');
const load = loader._load;
loader._load = function (name, ...more) {
  if (name === '${late}') process.kill(process.pid, '${signal}');
  return load.call(this, name, ...more);
};`;
}
