/**
 * Rehearsals of the workbench fleet as its program plays them: `npm run test:rehearsal [-- --devices N] [-- --only SCENE]`.
 * Each ends well, and the report reads its logs.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { scenes } from '../../../fleet/rehearsal/scenes.ts';
import { root } from '../../../packaging/tools.mjs';
import { removeDevices, runToEnd, temporaryFolder } from '../../support/program.ts';

const { values } = parseArgs({
  options: { devices: { type: 'string', default: '10' }, only: { type: 'string', default: '' } },
});
const played = Object.keys(scenes).filter((name) => name.includes(values.only));
assert.ok(
  played.length > 0,
  `--only is "${values.only}"; there are the scenes ${Object.keys(scenes).join(', ')}`,
);
const run = (...args: string[]) =>
  spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
assert.equal(run('scripts/buildFleet.mjs').status, 0);
const ports = ['--http-port', '--https-port', '--nats-port', '--page-port'].flatMap((name) => [name, '0']);
try {
  for (const scene of played) {
    const data = join(temporaryFolder(), scene);
    const args = ['--data', data, '--quiet', '--script', scene, '--devices', values.devices];
    const { status, stdout } = run('dist/fleet/onboardd-fleet.mjs', ...ports, ...args);
    assert.equal(status, 0, stdout);
    const [folder = ''] = readdirSync(join(data, 'rehearsals'));
    const logs = readdirSync(join(data, 'rehearsals', folder)).map((name) =>
      join(data, 'rehearsals', folder, name),
    );
    const report = JSON.parse(runToEnd(['report', '--json', ...logs]).stdout) as { devices: number };
    assert.match(JSON.stringify(report), /registered/);
    console.log(
      stdout.slice(stdout.lastIndexOf(`${scene}: `), stdout.lastIndexOf("the devices' logs")).trim(),
    );
  }
} finally {
  removeDevices();
}
