import { X509Certificate } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { at, failure, fleetWith, launch, onboard, state } from '../../support/harness.ts';

test('killed at any moment and started again, a device keeps its id and key and is accepted once', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  const ids = new Set<string>();
  const keys = new Set<string>();
  const note = () => {
    if (existsSync(join(device.stateDir, 'state.json'))) ids.add(state(device).deviceId);
    const key = join(device.stateDir, 'identity.key');
    if (existsSync(key)) keys.add(readFileSync(key, 'utf8'));
  };
  for (const moment of ['keygen', 'csr', 'provisioned', 'registering', 'registered']) {
    const program = launch(device);
    await program.until(
      (line) => line.event === 'state.changed' && (line.to === moment || line.to === 'registered'),
    );
    program.child.kill('SIGKILL');
    await program.ended;
    note();
  }
  await onboard(device);
  note();
  expect([ids.size, keys.size]).toEqual([1, 1]);
  expect(fleet.manager.accepted.get([...ids][0] ?? '')?.count).toBe(1);
});

test('a damaged state.json is set aside and rebuilt: same id, same key, nothing asked', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  await onboard(device);
  const { deviceId } = state(device);
  const requests = fleet.manager.requests.length;
  writeFileSync(join(device.stateDir, 'state.json'), '');
  const program = await onboard(device);
  expect(program.lines.find(failure('STATE_CORRUPT'))?.message).toContain('state.json.damaged-1');
  expect(state(device).deviceId).toBe(deviceId);
  expect(fleet.manager.requests).toHaveLength(requests);
});

test('a damaged state.json beside a key whose id is nowhere else is not replaced by a new identity', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  await onboard(device);
  const key = readFileSync(join(device.stateDir, 'identity.key'), 'utf8');
  writeFileSync(join(device.stateDir, 'state.json'), '{');
  writeFileSync(join(device.stateDir, 'device_id.txt'), '');
  const program = launch(device, ['--once']);
  expect(await program.ended).toBe(1);
  expect(program.lines.some((line) => line.event === 'device.failed' && line.code === 'STATE_CORRUPT')).toBe(
    true,
  );
  expect(readFileSync(join(device.stateDir, 'identity.key'), 'utf8')).toBe(key);
});

test('an empty key that a power cut left is set aside and the id stays', async () => {
  const fleet = await fleetWith();
  const device = at(fleet, { identity: { deviceId: 'kept' } });
  mkdirSync(device.stateDir, { mode: 0o700 });
  writeFileSync(join(device.stateDir, 'identity.key'), '');
  await onboard(device);
  expect(state(device).deviceId).toBe('kept');
  expect(readdirSync(device.stateDir)).toContain('identity.key.damaged-1');
});

test('a key that was damaged is replaced under the same id, and the log says so once, with the new certificate', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  await onboard(device);
  const { deviceId } = state(device);
  const certificate = () => new X509Certificate(readFileSync(join(device.stateDir, 'identity.crt')));
  const before = certificate().serialNumber;
  writeFileSync(join(device.stateDir, 'identity.key'), 'no key');
  const program = await onboard(device);
  const said = (event: string) => program.lines.filter((line) => line.event === event);
  expect(said('identity.replaced')).toMatchObject([{ level: 'warn', deviceId, reason: 'key-lost' }]);
  const { serialNumber: serial, validTo } = certificate();
  expect(serial).not.toBe(before);
  const notAfter = new Date(validTo).toISOString();
  expect(said('certificate.issued')).toMatchObject([{ deviceId, serial, notAfter }]);
});

test('a state that was lost after the fleet said “already registered” is rebuilt as registered', async () => {
  const fleet = await fleetWith({ api: 'plain' });
  fleet.manager.behave = (_, n) => (n === 1 ? 'lose' : undefined);
  const device = at(fleet, { registration: { timeoutMs: 1000 } });
  await onboard(device);
  const asked = fleet.manager.requests.length;
  writeFileSync(join(device.stateDir, 'state.json'), '');
  await onboard(device);
  expect(fleet.manager.requests).toHaveLength(asked);
});

test('a state directory that cannot be made is waited for, and the device then onboards', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  const obstacle = join(dirname(device.stateDir), 'not');
  const place = join(obstacle, 'yet');
  symlinkSync('nowhere', obstacle);
  const program = launch(device, ['--state-dir', place]);
  const waiting = await program.until(failure('STATE_UNWRITABLE'));
  expect(waiting).toMatchObject({ state: 'idle', step: 'idle', class: 'transient' });
  rmSync(obstacle);
  await program.until((line) => line.event === 'device.registered');
  expect(readdirSync(place)).toContain('identity.key');
});

test('below a file system that makes no folders the program does not wait for one', async () => {
  const device = at(await fleetWith());
  const program = launch(device, ['--state-dir', '/proc/onboardd/state']);
  expect(await program.ended).toBe(78);
  expect(program.lines.at(-1)).toMatchObject({ event: 'device.failed', code: 'CONFIG_INVALID' });
});

test('a daemon that waits for its disk ends with 75 where another daemon has it by then', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  const obstacle = join(dirname(device.stateDir), 'not');
  const place = join(obstacle, 'yet');
  symlinkSync('nowhere', obstacle);
  const slow = { ONBOARDD_RETRY_INITIAL_MS: '20000', ONBOARDD_RETRY_MAX_MS: '20000' };
  const waiting = launch(device, ['--state-dir', place], slow);
  await waiting.until(failure('STATE_UNWRITABLE'));
  waiting.child.kill('SIGSTOP');
  rmSync(obstacle);
  const holder = launch(device, ['--state-dir', place]);
  await holder.until((line) => line.event === 'device.registered');
  waiting.child.kill('SIGCONT');
  expect(await waiting.ended).toBe(75);
  expect(waiting.lines.find((line) => line.event === 'device.failed')).toMatchObject({
    code: 'STATE_LOCKED',
  });
  expect(fleet.manager.accepted.size).toBe(1);
});
