import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
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
import { newDevice, programFile, runToEnd } from '../../support/program.ts';

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
  const device = newDevice({});
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
  expect(stderr).toMatch(/config\.d\/30-broken\.json cannot be read: invalid JSON at line 1/);
  expect(stderr.match(/30-broken/g)).toHaveLength(1);
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

test('reset --keep-id keeps the id and nothing else: a fresh key, and the fleet’s “already registered” means itself', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'aGVsbG8K' }) });
  const pat = join(fleet.dir, 'PAT.pat');
  const device = at(fleet, { exports: { token: pat } });
  await onboard(device);
  const { deviceId } = state(device);
  const key = readFileSync(join(device.stateDir, 'identity.key'), 'utf8');
  const { status, stdout } = runToEnd(['reset', '--keep-id', '--yes', '--config', device.configFile]);
  expect(status).toBe(0);
  expect(stdout).toContain(`will remove ${join(device.stateDir, 'identity.key')}\n`);
  expect(stdout).toContain(`will remove ${pat}\n`);
  expect(stdout).toContain(`will keep the device id ${deviceId}\n`);
  expect(readdirSync(device.stateDir).sort()).toEqual(['device_id.txt', 'state.json']);
  expect(existsSync(pat)).toBe(false);
  expect(state(device)).toMatchObject({ deviceId, provisioned: null, pinnedCa: null, registration: null });
  await onboard(device);
  expect(state(device).deviceId).toBe(deviceId);
  expect(readFileSync(join(device.stateDir, 'identity.key'), 'utf8')).not.toBe(key);
  expect(fleet.manager.accepted.get(deviceId)?.count).toBe(1);
});

test('reset leaves what an operator put in the place of an export, and what it never wrote', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'aGVsbG8K' }) });
  const [pat, key, never] = ['PAT.pat', 'own.key', 'compose.yml'].map((name) => join(fleet.dir, name)) as [
    string,
    string,
    string,
  ];
  const device = at(fleet, { exports: { token: pat, key, configuration: never } });
  await onboard(device);
  writeFileSync(pat, 'put here by hand');
  writeFileSync(never, 'services: {}');
  const asked = runToEnd(['reset', '--config', device.configFile]);
  expect(asked.status).toBe(64);
  expect(asked.stdout).toContain(`will leave ${pat}: its content is not what onboardd wrote there\n`);
  expect(asked.stdout).toContain(`will remove ${key}\n`);
  expect(asked.stdout).not.toContain(never);
  expect(runToEnd(['reset', '--yes', '--config', device.configFile]).status).toBe(0);
  expect([pat, key, never].map((path) => existsSync(path))).toEqual([true, false, true]);
  expect(readFileSync(pat, 'utf8')).toBe('put here by hand');
});

test('reset removes what a kill left of an export beside its place', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'aGVsbG8K' }) });
  const [pat, left] = ['PAT.pat', '.PAT.pat.tmp'].map((name) => join(fleet.dir, name)) as [string, string];
  const device = at(fleet, { exports: { token: pat } });
  await onboard(device);
  writeFileSync(left, 'aGVs');
  expect(runToEnd(['reset', '--config', device.configFile]).stdout).toContain(`will remove ${left}\n`);
  expect(runToEnd(['reset', '--yes', '--config', device.configFile]).status).toBe(0);
  expect([pat, left].map((path) => existsSync(path))).toEqual([false, false]);
});

test('a device whose reset was interrupted starts with nothing of its old identity, until the reset is run again', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  await onboard(device);
  const before = state(device);
  writeFileSync(join(device.stateDir, 'state.json'), JSON.stringify({ ...before, resetting: true }));
  rmSync(join(device.stateDir, 'identity.key'));
  const program = launch(device, ['--once']);
  expect(await program.ended).toBe(1);
  expect(program.lines.at(-2)).toMatchObject({ event: 'device.failed', code: 'STATE_CORRUPT' });
  expect(program.lines.find((line) => line.event === 'step.failed')?.cause).toMatch(/onboardd reset/);
  expect(existsSync(join(device.stateDir, 'identity.key'))).toBe(false);
  expect(runToEnd(['reset', '--yes', '--config', device.configFile]).status).toBe(0);
  await onboard(device);
  expect(state(device).deviceId).not.toBe(before.deviceId);
});

test('reset --keep-id is refused if no id can be read, and changes nothing', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  await onboard(device);
  writeFileSync(join(device.stateDir, 'state.json'), '{');
  rmSync(join(device.stateDir, 'device_id.txt'));
  const names = readdirSync(device.stateDir);
  const { status, stderr } = runToEnd(['reset', '--keep-id', '--yes', '--config', device.configFile]);
  expect(status).toBe(1);
  expect(stderr).toContain('STATE_CORRUPT');
  expect(readdirSync(device.stateDir)).toEqual(names);
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

test('neither a reader of the output that has gone nor a full disk behind it changes the exit status or stops a command halfway', async () => {
  const device = newDevice({});
  const full = openSync('/dev/full', 'w');
  const args = ['--config', device.configFile];
  const invalid = spawnSync(process.execPath, [programFile, 'run', ...args], {
    stdio: ['ignore', full, full],
  });
  expect(invalid.status).toBe(78);
  mkdirSync(device.stateDir);
  for (const name of ['identity.crt', 'device_id.txt'])
    writeFileSync(join(device.stateDir, name), 'device-1');
  const reset = spawn(process.execPath, [programFile, 'reset', '--yes', ...args]);
  reset.stdout.destroy();
  let said = '';
  reset.stderr.on('data', (text) => {
    said += text;
  });
  expect(await once(reset, 'close')).toEqual([0, null]);
  expect(said.replace('onboardd: no hooks are run, as the configuration is invalid\n', '')).toBe('');
  expect(readdirSync(device.stateDir)).toEqual([]);
});

test.each([
  ['y', 'y\n', 0],
  ['Ctrl-D', '\x04', 1],
  ['Ctrl-C', '\x03', 1],
])('reset asks on a terminal: %s is an answer, and only a yes removes anything', async (_, keys, status) => {
  const device = newDevice({});
  mkdirSync(device.stateDir);
  for (const name of ['identity.crt', 'device_id.txt'])
    writeFileSync(join(device.stateDir, name), 'device-1');
  // script(1) gives the command a terminal.
  const command = `'${process.execPath}' '${programFile}' reset --config '${device.configFile}'`;
  const terminal = spawn('script', ['-qec', command, '/dev/null']);
  let said = '';
  terminal.stdout.on('data', (text) => {
    if (!said.includes('[y/N]') && `${said}${text}`.includes('[y/N]')) terminal.stdin.write(keys);
    said += text;
  });
  const [code] = await once(terminal, 'close');
  expect(code, said).toBe(status);
  expect(said).not.toContain('    at ');
  expect(said.includes('Nothing was changed.')).toBe(status === 1);
  expect(readdirSync(device.stateDir)).toHaveLength(status === 0 ? 0 : 2);
});

test('after a reset nothing in the runtime directory says that the device is registered, though its daemon was killed', () => {
  const device = newDevice({});
  const run = mkdtempSync(join(dirname(device.configFile), 'run-'));
  mkdirSync(device.stateDir);
  writeFileSync(join(device.stateDir, 'device_id.txt'), 'device-1');
  for (const name of ['registered', 'status.json']) writeFileSync(join(run, name), '');
  const env = { RUNTIME_DIRECTORY: run };
  expect(runToEnd(['reset', '--yes', '--config', device.configFile], env).status).toBe(0);
  expect(readdirSync(run)).toEqual(['unregistered']);
});
