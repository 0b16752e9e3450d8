import { execFileSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Fleet } from '../../../fleet/fleet.ts';
import { at, failure, fleetWith, launch, onboard, state, states } from '../../support/harness.ts';
import { type Device, runToEnd, temporaryFolder } from '../../support/program.ts';

/** What the Go agents leave: their files, and the environment file that names them. */
interface Agent {
  readonly folder: string;
  readonly envFile: string;
  readonly id: string;
  readonly read: (name: string) => string;
}

type KeyForm = 'pkcs1' | 'sec1' | 'pkcs8';
const keyFiles = ['identity.key', 'identity.crt', 'identity_ca.crt', 'device_id.txt', 'service_nats_url.txt'];

/** A device that the fleet knows, whose onboardd is taken away and whose files are put where the agent keeps them. */
async function agentOf(fleet: Fleet, form: KeyForm, more: readonly string[] = []): Promise<Agent> {
  const keyType = form === 'pkcs1' ? 'rsa-2048' : 'ec-p256';
  const before = at(fleet, { identity: { keyType } });
  await onboard(before);
  const folder = temporaryFolder();
  const { deviceId } = state(before);
  const file = (name: string) => readFileSync(join(before.stateDir, name), 'utf8');
  const key = createPrivateKey(file('identity.key')).export({ type: form, format: 'pem' }).toString();
  const texts = [
    key,
    file('identity.crt'),
    file('identity_ca.crt'),
    `${deviceId}\n`,
    file('service_nats_url.txt'),
  ];
  for (const [index, name] of keyFiles.entries()) writeFileSync(join(folder, name), texts[index] ?? '');
  const envFile = join(folder, '.env');
  const lines = [
    'TLS=True',
    `SERVICE_IDENTITY_KEY_FILE=${folder}/identity.key`,
    `SERVICE_IDENTITY_CERTIFICATE_FILE=${folder}/identity.crt`,
    `SERVICE_IDENTITY_CA_FILE=${folder}/identity_ca.crt`,
    `SERVICE_NATS_URL_FILE=${folder}/service_nats_url.txt`,
    `DEVICE_ID_FILE=${folder}/device_id.txt # the id`,
    ...more,
  ];
  writeFileSync(envFile, lines.join('\r\n'));
  return { folder, envFile, id: deviceId, read: (name) => readFileSync(join(folder, name), 'utf8') };
}

function metadata({ folder }: Agent) {
  return keyFiles.map((name) => {
    const { ino, mtimeMs } = statSync(join(folder, name));
    return { name, ino, mtimeMs };
  });
}

async function adopt(device: Device, { envFile }: Agent) {
  const program = launch(device, ['--once', '--env-file', envFile]);
  expect(await program.ended, program.stderr()).toBe(0);
  return program;
}

test.each<KeyForm>([
  'pkcs1',
  'sec1',
  'pkcs8',
])('an identity with a %s key is taken over: same id, no CSR, "already registered" is the device itself', async (form) => {
  const fleet = await fleetWith();
  const agent = await agentOf(fleet, form, [`DEVICE_AUTH_TOKEN_FILE=PAT.pat`]);
  const identity = join(agent.folder, 'identity.txt');
  appendFileSync(agent.envFile, `\nDEVICE_IDENTITY_FILE=${identity}\n`);
  writeFileSync(identity, 'what only the agent knows');
  const asked = fleet.provisioning.requests.length;
  const before = metadata(agent);
  const device = at(fleet);
  const program = await adopt(device, agent);
  expect(program.lines.filter(({ event }) => event === 'export.failed')).toEqual([]);
  expect(agent.read('identity.txt')).toBe('what only the agent knows');
  expect(program.lines.find(({ event }) => event === 'identity.adopted')).toMatchObject({
    deviceId: agent.id,
    key: 'kept',
    certificate: 'kept',
    cause: null,
  });
  expect(states(program)).toEqual(['provisioned', 'registering', 'registered']);
  expect(fleet.provisioning.requests).toHaveLength(asked);
  expect(state(device)).toMatchObject({ deviceId: agent.id, registration: { alias: null } });
  expect(metadata(agent)).toEqual(before);
  const own = readFileSync(join(device.stateDir, 'identity.key'), 'utf8');
  expect(own).toMatch(/^-----BEGIN PRIVATE KEY-----/);
  expect(createPrivateKey(own).equals(createPrivateKey(agent.read('identity.key')))).toBe(true);
  expect(fleet.manager.accepted.get(agent.id)?.count).toBe(1);
});

test('a key without a certificate: one is requested for the same id and key, and the key file stays', async () => {
  const fleet = await fleetWith();
  const agent = await agentOf(fleet, 'sec1');
  rmSync(join(agent.folder, 'identity.crt'));
  const key = agent.read('identity.key');
  const asked = fleet.provisioning.requests.length;
  const device = at(fleet);
  await adopt(device, agent);
  const [request, ...others] = fleet.provisioning.requests.slice(asked);
  expect(others).toEqual([]);
  expect(request).toMatchObject({ id: agent.id });
  expect(agent.read('identity.key')).toBe(key);
  expect(agent.read('identity.crt')).toBe(state(device).provisioned.certificate);
});

test('AUTOMATIC_PROVISIONING=false: nothing is sent, the device says so, and an adopted identity registers', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  const envFile = join(temporaryFolder(), '.env');
  writeFileSync(envFile, 'AUTOMATIC_PROVISIONING=False\n');
  const program = launch(device, ['--once', '--env-file', envFile]);
  expect(await program.ended).toBe(1);
  expect(program.lines.find(failure('CONFIG_INVALID'))).toMatchObject({
    step: 'csr',
    reason: 'provisioning-off',
  });
  expect(program.lines.find(({ event }) => event === 'device.failed')?.remedy).toContain(
    'AUTOMATIC_PROVISIONING=true',
  );
  expect(runToEnd(['status', '--config', device.configFile]).stdout).toContain(
    'AUTOMATIC_PROVISIONING=false',
  );
  expect(fleet.provisioning.requests).toEqual([]);
  const agent = await agentOf(fleet, 'pkcs8', ['AUTOMATIC_PROVISIONING=false']);
  const asked = fleet.provisioning.requests.length;
  await adopt(at(fleet), agent);
  expect(fleet.provisioning.requests).toHaveLength(asked);
});

test('the file of the host name is used, or named as one that is not', async () => {
  const fleet = await fleetWith();
  const folder = temporaryFolder();
  const envFile = join(folder, '.env');
  writeFileSync(envFile, `DEVICE_HOSTNAME_FILE=${folder}/hostname\n`);
  const warnings = async (alias: string) => {
    const program = launch(at(fleet, { device: { type: 'mobile', alias } }), [
      '--once',
      '--env-file',
      envFile,
    ]);
    expect(await program.ended, program.stderr()).toBe(0);
    const all = program.lines.filter(({ event }) => event === 'config.warning');
    return all.map(({ key, message }) => [key, message]);
  };
  const named = `DEVICE_HOSTNAME_FILE in --env-file is "${folder}/hostname"`;
  expect(await warnings('a-{hostname}')).toEqual([
    ['--env-file', `${named}, which holds no host name that can be read: {hostname} is "${hostname()}"`],
  ]);
  writeFileSync(join(folder, 'hostname'), 'kone-7\n');
  expect(await warnings('a-{hostname}')).toEqual([]);
  expect(fleet.manager.requests.at(-1)?.body).toMatchObject({ alias: 'a-kone-7' });
  expect(await warnings('a')).toEqual([
    ['--env-file', `${named}, and not used: no setting names {hostname}`],
  ]);
});

test("generation 3: the YAML's files are adopted, exported beside it, and its architecture is sent", async () => {
  const fleet = await fleetWith({
    fields: () => ({ token: 'user token\n', configuration: 'services: {}\n' }),
  });
  const folder = temporaryFolder();
  const yaml = join(folder, 'config.yaml');
  writeFileSync(
    yaml,
    [
      'TLS: true',
      'NatsEndpointFile: service_nats_url.txt',
      'Device: { Type: laptop, Alias: "Alpha{id}", Architecture: "linux/amd64", ConfigurationFile: docker-compose.yml }',
      'Identity: { CaCertFile: ca.crt, CertFile: identity.crt, KeyFile: identity.key, File: device_id.json }',
      'Secrets: { AuthTokenFile: PAT.pat }',
    ].join('\n'),
  );
  writeFileSync(join(folder, 'device_id.json'), '{"id":"9000f4db6a8645c7a5445cb56ac3ce22"}');
  const device = at(fleet);
  const program = launch(device, ['--once', '--agent-config', yaml]);
  expect(await program.ended, program.stderr()).toBe(0);
  expect(state(device).deviceId).toBe('9000f4db6a8645c7a5445cb56ac3ce22');
  expect(program.lines.find(({ event }) => event === 'identity.adopted')).toMatchObject({ key: 'new' });
  expect(fleet.manager.requests.at(-1)?.body).toMatchObject({
    architecture: 'linux/amd64',
    deviceType: 'laptop',
    alias: 'Alpha9000f4db6a8645c7a5445cb56ac3ce22',
  });
  expect(readFileSync(join(folder, 'PAT.pat'), 'utf8')).toBe('user token\n');
  expect(existsSync(join(folder, 'docker-compose.yml'))).toBe(true);
  // Whatever is there would be adopted again.
  writeFileSync(join(folder, 'identity.key'), 'the key of another');
  const { status, stdout } = runToEnd([
    'reset',
    '--yes',
    '--config',
    device.configFile,
    '--agent-config',
    yaml,
  ]);
  expect(status, stdout).toBe(0);
  for (const name of ['PAT.pat', 'identity.key', 'device_id.json'])
    expect(existsSync(join(folder, name))).toBe(false);
});

test('a key of another identity that turns up later is left as it is; the device stays registered, and says so', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  await onboard(device);
  const agent = await agentOf(fleet, 'sec1');
  const before = metadata(agent);
  const program = await adopt(device, agent);
  expect(program.lines.filter(({ event }) => event === 'export.failed').map(({ code }) => code)).toContain(
    'CONFIG_INVALID',
  );
  expect(metadata(agent)).toEqual(before);
});

test('a file of the agent that cannot be read keeps the device waiting, and makes no new identity', async () => {
  const fleet = await fleetWith();
  const agent = await agentOf(fleet, 'sec1');
  rmSync(join(agent.folder, 'identity.key'));
  execFileSync('mkfifo', [join(agent.folder, 'identity.key')]);
  const asked = fleet.provisioning.requests.length;
  const device = at(fleet);
  const program = launch(device, ['--env-file', agent.envFile]);
  expect(await program.until(failure('STATE_UNWRITABLE'))).toMatchObject({
    step: 'idle',
    reason: 'agent-unreadable',
  });
  expect(existsSync(join(device.stateDir, 'state.json'))).toBe(false);
  expect(fleet.provisioning.requests).toHaveLength(asked);
});

test('an export that cannot be written keeps the device from nothing, and is written once it can be', async () => {
  const fleet = await fleetWith();
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'blocked'), '');
  const device = at(fleet, {
    exports: { certificate: join(folder, 'blocked/identity.crt'), deviceId: join(folder, 'device_id.txt') },
  });
  const program = await onboard(device);
  expect(program.lines.filter(({ event }) => event === 'export.failed')).toHaveLength(1);
  expect(existsSync(join(folder, 'device_id.txt'))).toBe(true);
  rmSync(join(folder, 'blocked'));
  mkdirSync(join(folder, 'blocked'));
  await onboard(device);
  expect(existsSync(join(folder, 'blocked/identity.crt'))).toBe(true);
});

test('the device says what Tailscale and its facts say; what is not known is left out with one warning', async () => {
  const fleet = await fleetWith();
  const bin = temporaryFolder();
  writeFileSync(join(bin, 'tailscale'), `#!/bin/sh\necho '{"Self":{"ID":"nABC123"}}'\n`, { mode: 0o755 });
  const device = at(fleet, { device: { type: 'mobile', tailscaleID: 'auto', alias: 'laptop-{id}' } });
  await onboard(device, { PATH: `${bin}:${process.env.PATH}` });
  const id = state(device).deviceId;
  expect(fleet.manager.requests.at(-1)?.body).toMatchObject({
    tailscaleID: 'nABC123',
    alias: `laptop-${id}`,
  });
  writeFileSync(join(bin, 'tailscale'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
  const other = at(fleet, { device: { type: 'mobile', tailscaleID: 'auto' } });
  const program = await onboard(other, { PATH: `${bin}:${process.env.PATH}` });
  expect(fleet.manager.requests.at(-1)?.body).not.toHaveProperty('tailscaleID');
  const warnings = program.lines.filter(({ event }) => event === 'config.warning');
  expect(warnings).toMatchObject([{ key: 'device.tailscaleID' }]);
});
