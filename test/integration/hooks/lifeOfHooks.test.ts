import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Fleet } from '../../../fleet/fleet.ts';
import { at, fleetWith, launch, onboard, state } from '../../support/harness.ts';
import { runToEnd, temporaryFolder } from '../../support/program.ts';

/** A device whose hook notes what it hears. */
function observed(fleet: Fleet, script: (out: string) => string, more: Record<string, unknown> = {}) {
  const folder = temporaryFolder();
  const dir = join(folder, 'hooks.d');
  const out = join(folder, 'out');
  mkdirSync(dir, { mode: 0o755 });
  writeFileSync(out, '');
  writeFileSync(join(dir, 'note'), `#!/bin/sh\n${script(out)}\n`);
  chmodSync(join(dir, 'note'), 0o755);
  const heard = () =>
    readFileSync(out, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  return { device: at(fleet, { hooks: { dir }, ...more }), heard, folder };
}
const note = (out: string) => `cat >> ${out}`;

test('hooks hear that a device is registered, renewed and reset, without its secrets, and its exports are there', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'c2VjcmV0' }) });
  fleet.provisioning.behave = (_, n) =>
    n === 1
      ? { certificate: { notBefore: new Date(Date.now() - 1000), notAfter: new Date(Date.now() + 20_000) } }
      : undefined;
  const pat = join(fleet.dir, 'PAT.pat');
  const runtime = temporaryFolder();
  const { device, heard } = observed(fleet, (out) => `test -e ${pat} && cat >> ${out}`, {
    exports: { token: pat },
    renewal: { at: 0.01 },
  });
  const program = launch(device, [], { RUNTIME_DIRECTORY: runtime });
  await expect.poll(() => heard().map(({ event }) => event), { timeout: 60_000 }).toContain('renewed');
  expect(existsSync(join(runtime, 'renewed'))).toBe(true);
  program.child.kill('SIGTERM');
  await program.ended;
  const { deviceId } = state(device);
  expect(heard()[0]).toMatchObject({ event: 'registered', state: 'registered', deviceId });
  const before = heard().length;
  rmSync(pat);
  writeFileSync(pat, 'in the place of it');
  expect(
    runToEnd(['reset', '--yes', '--config', device.configFile], { RUNTIME_DIRECTORY: runtime }).status,
  ).toBe(0);
  expect(heard().slice(before)).toEqual([expect.objectContaining({ event: 'reset', deviceId })]);
  expect(existsSync(join(runtime, 'unregistered'))).toBe(true);
  expect(JSON.stringify(heard())).not.toMatch(/c2VjcmV0|PRIVATE KEY/);
});

test('a hook that hangs keeps no device from being registered, nor a signal from stopping it', async () => {
  const fleet = await fleetWith();
  const { device } = observed(fleet, () => 'sleep 25');
  const program = launch(device);
  await program.until(({ event }) => event === 'device.registered');
  const started = performance.now();
  program.child.kill('SIGTERM');
  expect(await program.ended).toBe(0);
  expect(performance.now() - started).toBeLessThan(10_000);
});

test('a failure is told, and run --once ends only after its hooks', async () => {
  const fleet = await fleetWith({ nats: { tls: false } });
  const { device, heard } = observed(fleet, (out) => `sleep 0.5; ${note(out)}`);
  expect(await launch(device, ['--once']).ended).toBe(1);
  expect(heard()).toEqual([
    expect.objectContaining({
      event: 'failed',
      state: 'failed',
      lastError: expect.objectContaining({ code: 'NATS_NOT_SECURE' }),
    }),
  ]);
});

test('a device that registers anew raises the flag that stops what is bound to its registration, and takes it back', async () => {
  const fleet = await fleetWith();
  const runtime = temporaryFolder();
  const registration = { onChange: true };
  const { device, heard } = observed(fleet, note, { device: { type: 'mobile', alias: 'one' }, registration });
  await onboard(device, { RUNTIME_DIRECTORY: runtime });
  expect(existsSync(join(runtime, 'unregistered'))).toBe(false);
  const config = JSON.parse(readFileSync(device.configFile, 'utf8'));
  writeFileSync(device.configFile, JSON.stringify({ ...config, device: { type: 'mobile', alias: 'two' } }));
  fleet.manager.behave = () => 'hold';
  const program = launch(device, [], { RUNTIME_DIRECTORY: runtime });
  await fleet.manager.journal.atLeast(2);
  expect(existsSync(join(runtime, 'unregistered'))).toBe(true);
  await fleet.manager.release();
  await expect
    .poll(() => heard().filter(({ event }) => event === 'registered').length, { timeout: 30_000 })
    .toBe(2);
  expect(existsSync(join(runtime, 'unregistered'))).toBe(false);
  program.child.kill('SIGTERM');
  await program.ended;
});
