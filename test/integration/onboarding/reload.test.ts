import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { at, fleetWith, launch, onboard, state } from '../../support/harness.ts';
import { type Device, type Line, newDevice, programFile, runToEnd } from '../../support/program.ts';

const isRegistered = (line: Line) => line.event === 'device.registered';
const isReloaded = (line: Line) => line.event === 'config.reloaded';
const isRefused = (line: Line) => line.event === 'step.failed' && line.step === 'reload';

/** Changes sections of the configuration file. */
function rewrite(device: Device, more: Record<string, unknown>): void {
  const config = JSON.parse(readFileSync(device.configFile, 'utf8'));
  writeFileSync(device.configFile, JSON.stringify({ ...config, ...more }));
}

test('SIGUSR1 and SIGUSR2 do nothing to the daemon', async () => {
  const program = launch(at(await fleetWith()));
  await program.until(isRegistered);
  program.child.kill('SIGUSR1');
  program.child.kill('SIGUSR2');
  program.child.kill('SIGHUP');
  await program.until(isReloaded);
  program.child.kill('SIGTERM');
  expect(await program.ended).toBe(0);
  expect(program.stderr()).toBe('');
});

test('nor to a command that watches', async () => {
  const { configFile } = newDevice({});
  const child = spawn(process.execPath, [programFile, 'status', '--watch', '--json', '--config', configFile]);
  let stderr = '';
  child.stderr.on('data', (text) => (stderr += text));
  await once(child.stdout, 'data');
  child.kill('SIGUSR1');
  child.kill('SIGUSR2');
  child.kill('SIGTERM');
  expect(await once(child, 'close')).toEqual([3, null]);
  expect(stderr).toBe('');
});

test('a command that watches ends with its terminal, as commands do', async () => {
  const { configFile } = newDevice({});
  const child = spawn(process.execPath, [programFile, 'status', '--watch', '--json', '--config', configFile]);
  await once(child.stdout, 'data');
  child.kill('SIGHUP');
  expect(await once(child, 'close')).toEqual([null, 'SIGHUP']);
});

test('SIGHUP reads the configuration again, and the daemon goes on with the new one in the same process', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'aGVsbG8K' }) });
  const device = at(fleet);
  const program = launch(device);
  const { deviceId } = await program.until(isRegistered);
  const token = join(fleet.dir, 'token');
  rewrite(device, { exports: { token } });
  program.child.kill('SIGHUP');
  expect(await program.until(isReloaded)).toMatchObject({ level: 'info', changed: 'exports' });
  await program.until(
    (line) => isRegistered(line) && program.lines.indexOf(line) > program.lines.findIndex(isReloaded),
  );
  expect(readFileSync(token, 'utf8')).toBe('aGVsbG8K');
  expect(runToEnd(['run', '--config', device.configFile]).status).toBe(75);
  expect(program.lines.filter((line) => line.event === 'daemon.started')).toHaveLength(1);
  expect(fleet.manager.accepted.get(String(deviceId))?.count).toBe(1);
  program.child.kill('SIGTERM');
  expect(await program.ended).toBe(0);
});

test('a daemon that waits takes up what was mended', async () => {
  const fleet = await fleetWith();
  const slow = { initialMs: 3_600_000, maxMs: 3_600_000 };
  const device = newDevice({ provisioning: { url: 'http://127.0.0.1:1' }, retry: slow });
  const program = launch(device);
  await program.until((line) => line.event === 'step.failed');
  rewrite(device, { provisioning: { url: fleet.provisioningUrl } });
  program.child.kill('SIGHUP');
  await program.until(isRegistered);
});

test.each([
  ['a value out of range', () => ({ retry: { factor: 'two' } }), /retry\.factor is "two"/],
  ['another state directory', ({ stateDir }: Device) => ({ stateDir: `${stateDir}2` }), /stateDir .*restart/],
  [
    'an export over a file of the state directory',
    ({ stateDir }: Device) => ({ exports: { token: join(stateDir, 'identity.key') } }),
    /exports\.token is/,
  ],
])('SIGHUP with %s is refused, and the daemon goes on with the old configuration', async (_, wrong, words) => {
  const fleet = await fleetWith();
  const device = at(fleet);
  const program = launch(device);
  await program.until(isRegistered);
  const before = readFileSync(device.configFile, 'utf8');
  rewrite(device, wrong(device));
  program.child.kill('SIGHUP');
  const line = await program.until(isRefused);
  expect(line).toMatchObject({ code: 'CONFIG_INVALID', class: 'permanent', retryInMs: null });
  expect(line.cause).toMatch(words);
  expect(program.lines.at(-1)).toBe(line);
  expect(existsSync(`${device.stateDir}2`)).toBe(false);
  writeFileSync(device.configFile, before);
  program.child.kill('SIGHUP');
  await program.until(isReloaded);
  program.child.kill('SIGTERM');
  expect(await program.ended).toBe(0);
});

test('the level and the format of the log are taken up too', async () => {
  const device = at(await fleetWith());
  const program = launch(device);
  await program.until(isRegistered);
  rewrite(device, { log: { format: 'json', level: 'warn' } });
  program.child.kill('SIGHUP');
  await program.until(isReloaded);
  rewrite(device, { log: { format: 'json', level: 'loud' } });
  program.child.kill('SIGHUP');
  await program.until(isRefused);
  const after = program.lines.slice(program.lines.findIndex(isReloaded) + 1);
  expect(after.map((line) => line.level)).toEqual(['warn']);
});

test('SIGHUP while the program still loads its modules does not end it', async () => {
  const fleet = await fleetWith();
  const preload = join(fleet.dir, 'hangup.cjs');
  writeFileSync(
    preload,
    `const loader = require('node:module');
const load = loader._load;
loader._load = function (name, ...more) {
  if (name === 'node:readline/promises') process.kill(process.pid, 'SIGHUP');
  return load.call(this, name, ...more);
};`,
  );
  await onboard(at(fleet), { NODE_OPTIONS: `--require ${preload}` });
});

test('with registration.onChange a device whose alias changed registers anew, and keeps id and result', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'aGVsbG8K' }) });
  const device = at(fleet, {
    device: { type: 'mobile', alias: 'one' },
    registration: { onChange: true },
  });
  const program = launch(device);
  const { deviceId } = await program.until(isRegistered);
  program.child.kill('SIGHUP');
  await program.until(isReloaded);
  rewrite(device, { device: { type: 'mobile', alias: 'two' } });
  program.child.kill('SIGHUP');
  const left = await program.until((line) => line.event === 'registration.left');
  expect(left).toMatchObject({ level: 'warn', reason: 'announcement-changed', deviceId });
  await program.until(
    (line) => isRegistered(line) && program.lines.indexOf(line) > program.lines.indexOf(left),
  );
  expect(fleet.manager.requests.map(({ id, body }) => [id, body?.alias])).toEqual([
    [deviceId, 'one'],
    [deviceId, 'two'],
  ]);
  expect(fleet.manager.accepted.get(String(deviceId))?.count).toBe(1);
  expect(state(device)).toMatchObject({
    registration: { alias: 'one', announced: { alias: 'two' } },
    formerRegistration: null,
  });
  expect(JSON.parse(state(device).registration.result)).toMatchObject({ token: 'aGVsbG8K' });
});

test('a device that is killed as it leaves its registration registers anew at the next start, once', async () => {
  const fleet = await fleetWith();
  const device = at(fleet, {
    device: { type: 'mobile', alias: 'one' },
    registration: { onChange: true },
  });
  await onboard(device);
  rewrite(device, { device: { type: 'mobile', alias: 'two' } });
  const program = launch(device);
  await program.until((line) => line.event === 'registration.left');
  program.child.kill('SIGKILL');
  await program.ended;
  const next = await onboard(device);
  expect(next.lines.some((line) => line.event === 'registration.left')).toBe(false);
  expect((await onboard(device)).lines.some((line) => line.event === 'step.failed')).toBe(false);
  expect(state(device).registration).toMatchObject({ announced: { alias: 'two' } });
  expect(fleet.manager.accepted.get(state(device).deviceId)?.count).toBe(1);
});

test('without registration.onChange a changed alias changes nothing', async () => {
  const fleet = await fleetWith();
  const device = at(fleet, { device: { type: 'mobile', alias: 'one' } });
  await onboard(device);
  rewrite(device, { device: { type: 'mobile', alias: 'two' } });
  await onboard(device);
  expect(fleet.manager.requests).toHaveLength(1);
});
