import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { at, fleetWith, launch, onboard } from '../../support/harness.ts';
import { type Device, newDevice, programFile, runToEnd, temporaryFolder } from '../../support/program.ts';

const waiting: ChildProcess[] = [];

afterEach(() => {
  for (const child of waiting.splice(0)) child.kill('SIGKILL');
});

/** `onboardd wait`. @returns its exit status and what it said, once it ends */
function wait(device: Device, args: string[] = [], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [programFile, 'wait', '--config', device.configFile, ...args], {
    env: { ...process.env, ...env },
  });
  waiting.push(child);
  let stderr = '';
  child.stderr.on('data', (text) => (stderr += text));
  const ended = once(child, 'close').then(([status]) => ({ status: status as number, stderr }));
  return { child, ended };
}

test('wait returns 0 when the device is registered, whether it becomes so or is', async () => {
  const device = at(await fleetWith());
  const early = wait(device);
  await onboard(device);
  expect(await early.ended).toEqual({ status: 0, stderr: '' });
  expect(runToEnd(['wait', '--timeout', '60', '--config', device.configFile]).status).toBe(0);
});

test('wait returns 3 when the time is over, and says what the device does', async () => {
  const device = newDevice({ provisioning: { url: 'http://127.0.0.1:9' } });
  const none = await wait(device, ['--timeout', '0.2']).ended;
  expect(none).toEqual({ status: 3, stderr: 'onboardd: not registered after 0.2 s: idle\n' });
  const program = launch(device);
  await program.until(({ event }) => event === 'step.failed');
  const late = await wait(device, ['--timeout', '0.2']).ended;
  expect(late.status).toBe(3);
  expect(late.stderr).toMatch(/after 0\.2 s: csr, PROVISIONING_UNREACHABLE/);
});

test('wait returns 1 when the device fails, unless failures are to be ignored', async () => {
  const fleet = await fleetWith();
  let isRefused = true;
  fleet.provisioning.behave = () => (isRefused ? { status: 403 } : undefined);
  const device = at(fleet, { retry: { initialMs: 50, maxMs: 500, failedAfterMs: 1500 } });
  const [strict, patient] = [wait(device), wait(device, ['--ignore-failed'])];
  const program = launch(device);
  const { status, stderr } = await strict.ended;
  expect(status).toBe(1);
  expect(stderr).toMatch(/^onboardd: PROVISIONING_REJECTED: .*403.*; Set `provisioning.tokenFile`/);
  isRefused = false;
  await program.until(({ event }) => event === 'device.registered');
  expect(await patient.ended).toEqual({ status: 0, stderr: '' });
});

test('where the service runs, its runtime directory says so, at every boot anew', async () => {
  const device = at(await fleetWith());
  await onboard(device);
  const folder = join(temporaryFolder(), 'run');
  const env = { RUNTIME_DIRECTORY: folder };
  const stale = await wait(device, ['--timeout', '0.2'], env).ended;
  expect(stale.status).toBe(3);
  const { ended } = wait(device, [], env);
  mkdirSync(folder);
  rmSync(folder, { recursive: true });
  mkdirSync(folder);
  writeFileSync(join(folder, 'registered'), '');
  expect(await ended).toEqual({ status: 0, stderr: '' });
});

test.each(['soon', '-1', '1e9', ''])('wait refuses a timeout of %j', (timeout) => {
  const { status, stderr } = runToEnd(['wait', '--timeout', timeout]);
  expect(status).toBe(64);
  expect(stderr).toContain('allowed: a number of seconds');
});

test('wait ends with its terminal and with SIGTERM as commands do', async () => {
  const { child } = wait(newDevice({}));
  child.kill('SIGTERM');
  expect(await once(child, 'close')).toEqual([null, 'SIGTERM']);
});

test('wait returns 1 when the device fails before it has an id or a state', async () => {
  const folder = temporaryFolder();
  const env = { RUNTIME_DIRECTORY: folder };
  const key = join(folder, 'identity.key');
  writeFileSync(key, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const agent = join(folder, 'env');
  const id = join(folder, 'device_id.txt');
  writeFileSync(id, 'deadbeefdeadbeefdeadbeefdeadbeef');
  writeFileSync(agent, `SERVICE_IDENTITY_KEY_FILE=${key}\nDEVICE_ID_FILE=${id}\n`);
  const device = newDevice({ provisioning: { url: 'http://127.0.0.1:9' } });
  const { ended } = wait(device, ['--env-file', agent, '--timeout', '60'], env);
  launch(device, ['--env-file', agent], env);
  expect(await ended).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/^onboardd: STATE_CORRUPT: /),
  });
});
