import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { at, fleetWith, launch, onboard, state } from '../../support/harness.ts';
import { newDevice, runToEnd } from '../../support/program.ts';

test('a second daemon on the same state directory ends with 75 and changes nothing', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  const first = launch(device);
  await first.until((line) => line.event === 'device.registered');
  const before = readFileSync(join(device.stateDir, 'state.json'), 'utf8');
  const second = runToEnd(['run', '--config', device.configFile]);
  expect(second.status).toBe(75);
  expect(second.stderr).toContain('STATE_LOCKED');
  expect(readFileSync(join(device.stateDir, 'state.json'), 'utf8')).toBe(before);
});

test('status tells what the daemon left on disk', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  const before = runToEnd(['status', '--json', '--config', device.configFile]);
  expect(before.status).toBe(3);
  expect(JSON.parse(before.stdout)).toMatchObject({ state: 'idle', deviceId: null });
  await onboard(device);
  const { status, stdout } = runToEnd(['status', '--json', '--config', device.configFile]);
  expect(status).toBe(0);
  const { deviceId } = state(device);
  expect(JSON.parse(stdout)).toMatchObject({
    state: 'registered',
    deviceId,
    alias: `Alpha${deviceId}`,
    lastError: null,
  });
});

test('a wrong configuration ends with 78, names the key, and writes nothing', async () => {
  const fleet = await fleetWith();
  const device = at(fleet, { retry: { factor: 'two' }, unknown: 1 });
  const { status, stderr } = runToEnd(['run', '--config', device.configFile]);
  expect(status).toBe(78);
  expect(stderr).toMatch(/retry\.factor is "two"; allowed: a number/);
  expect(stderr).toMatch(/unknown is 1; unknown key/);
  expect(existsSync(device.stateDir)).toBe(false);
  expect(fleet.provisioning.requests).toEqual([]);
});

test('config.d beside the configuration file is laid over it, and mistakes in it name the file', async () => {
  const fleet = await fleetWith();
  const device = newDevice({ identity: { keyType: 'ec-p256' } });
  const folder = join(dirname(device.configFile), 'config.d');
  mkdirSync(folder);
  writeFileSync(
    join(folder, '10-fleet.json'),
    '{"provisioning":{"url":"http://127.0.0.1:9","timeoutMs":900}}',
  );
  writeFileSync(
    join(folder, '20-site.json'),
    JSON.stringify({ provisioning: { url: fleet.provisioningUrl }, device: { alias: 'site-{id}' } }),
  );
  await onboard(device);
  expect(fleet.manager.requests[0]?.body).toMatchObject({
    deviceType: 'mobile',
    alias: `site-${state(device).deviceId}`,
  });
  writeFileSync(join(folder, '30-broken.json'), '{');
  const { status, stderr } = runToEnd(['run', '--config', device.configFile]);
  expect(status).toBe(78);
  expect(stderr).toMatch(/config\.d\/30-broken\.json"; it cannot be read: invalid JSON at line 1/);
});

test('the agent’s environment file is honoured and its files are written', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'aGVsbG8K', configuration: 'services: {}\n' }) });
  const device = newDevice({});
  const folder = join(fleet.dir, 'fogdata');
  const envFile = join(fleet.dir, 'agent.env');
  writeFileSync(
    envFile,
    [
      'AUTOMATIC_PROVISIONING=true',
      'TLS=true',
      `PROVISIONING_URL=${fleet.provisioningUrl}`,
      'DEVICE_ALIAS=laptop-{id}',
      `SERVICE_IDENTITY_KEY_FILE=${folder}/certs/identity.key`,
      `DEVICE_ID_FILE="${folder}/certs/device_id.txt"`,
      `DEVICE_AUTH_TOKEN_FILE=${folder}/PAT.pat`,
      `DEVICE_CONFIGURATION_FILE=${folder}/docker-compose.yml`,
    ].join('\n'),
  );
  const program = launch(device, ['--once', '--env-file', envFile]);
  expect(await program.ended).toBe(0);
  const { deviceId, registration } = state(device);
  expect(registration.alias).toBe(`laptop-${deviceId}`);
  expect(readFileSync(join(folder, 'PAT.pat'), 'utf8')).toBe('aGVsbG8K');
  expect(statSync(join(folder, 'PAT.pat')).mode & 0o777).toBe(0o600);
  expect(readFileSync(join(folder, 'docker-compose.yml'), 'utf8')).toBe('services: {}\n');
  expect(readFileSync(join(folder, 'certs/device_id.txt'), 'utf8')).toBe(deviceId);
  expect(readFileSync(join(folder, 'certs/identity.key'), 'utf8')).toContain('PRIVATE KEY');
});

test('reset forgets the identity and its copies, and the device gets another one', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'aGVsbG8K' }) });
  const pat = join(fleet.dir, 'PAT.pat');
  const device = at(fleet, { exports: { token: pat } });
  await onboard(device);
  const { deviceId } = state(device);
  writeFileSync(join(device.stateDir, 'notes.txt'), 'not ours');
  const refused = runToEnd(['reset', '--config', device.configFile]);
  expect([refused.status, state(device).deviceId]).toEqual([64, deviceId]);
  expect(runToEnd(['reset', '--yes', '--config', device.configFile]).status).toBe(0);
  expect(readdirSync(device.stateDir)).toEqual(['notes.txt']);
  expect(existsSync(pat)).toBe(false);
  rmSync(join(device.stateDir, 'notes.txt'));
  await onboard(device);
  expect(state(device).deviceId).not.toBe(deviceId);
});

test('reset is refused while a daemon runs', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  const program = launch(device);
  await program.until((line) => line.event === 'device.registered');
  expect(runToEnd(['reset', '--yes', '--config', device.configFile]).status).toBe(75);
  expect(existsSync(join(device.stateDir, 'identity.key'))).toBe(true);
});

test('reset leaves no exported secret behind, though the rest of the configuration is wrong', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'c2VjcmV0' }) });
  const folder = mkdtempSync(join(tmpdir(), 'exports-'));
  try {
    const device = at(fleet, { exports: { token: join(folder, 'PAT.pat'), key: join(folder, 'own.key') } });
    await onboard(device);
    expect(readdirSync(folder).sort()).toEqual(['PAT.pat', 'own.key']);
    const config = JSON.parse(readFileSync(device.configFile, 'utf8'));
    writeFileSync(device.configFile, JSON.stringify({ ...config, provisioning: {} }));
    expect(runToEnd(['reset', '--yes', '--config', device.configFile]).status).toBe(0);
    expect(readdirSync(folder)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
