import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { type Fleet, type FleetOptions, startFleet } from './fleet/fleet.ts';
import type { ProvisioningBehaviour } from './fleet/provisioningBehaviour.ts';
import { startRelay } from './fleet/relay.ts';
import { type Device, newDevice, type Running, removeDevices, runToEnd, start } from './program.ts';

let fleet: Fleet | undefined;
const running: Running[] = [];

afterEach(async () => {
  for (const { child, ended } of running.splice(0)) {
    child.kill('SIGKILL');
    await ended;
  }
  removeDevices();
  await fleet?.stop();
  fleet = undefined;
});

async function fleetWith(options: FleetOptions = {}): Promise<Fleet> {
  fleet = await startFleet(options);
  return fleet;
}

function launch(device: Device, args: string[] = []): Running {
  const program = start(device, args);
  running.push(program);
  return program;
}

async function onboard(device: Device): Promise<Running> {
  const program = launch(device, ['--once']);
  expect(await program.ended, JSON.stringify(program.lines)).toBe(0);
  return program;
}

const state = (device: Device) => JSON.parse(readFileSync(join(device.stateDir, 'state.json'), 'utf8'));
const states = (program: Running) =>
  program.lines.filter((line) => line.event === 'state.changed').map((line) => line.to);
const failure = (code: string) => (line: { event: string; code?: unknown }) =>
  line.event === 'step.failed' && line.code === code;
const at = (fleet: Fleet, more: Record<string, unknown> = {}) =>
  newDevice({ provisioning: { url: fleet.provisioningUrl }, ...more });

test('a new device passes all states, is accepted once, and leaves its files private', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'c2VjcmV0', configuration: 'services: {}' }) });
  const device = at(fleet);
  const program = await onboard(device);
  expect(states(program)).toEqual(['keygen', 'csr', 'provisioned', 'registering', 'registered']);
  const { deviceId, registration } = state(device);
  expect(deviceId).toMatch(/^[0-9a-f]{32}$/);
  expect(fleet.manager.accepted.get(deviceId)?.count).toBe(1);
  expect(JSON.parse(registration.result).token).toBe('c2VjcmV0');
  const modes = Object.fromEntries(
    readdirSync(device.stateDir).map((name) => [
      name,
      (statSync(join(device.stateDir, name)).mode & 0o777).toString(8),
    ]),
  );
  expect(modes).toEqual({
    'device_id.txt': '644',
    'identity.crt': '644',
    'identity.key': '600',
    'identity_ca.crt': '644',
    'registration.json': '600',
    'service_nats_url.txt': '644',
    'state.json': '600',
  });
  expect(statSync(device.stateDir).mode & 0o777).toBe(0o700);
  expect(JSON.stringify(program.lines)).not.toMatch(/c2VjcmV0|PRIVATE KEY/);
});

test('a registered device that starts again asks nobody', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  await onboard(device);
  const before = [fleet.provisioning.requests.length, fleet.manager.requests.length];
  const program = await onboard(device);
  expect(states(program)).toEqual(['registered']);
  expect([fleet.provisioning.requests.length, fleet.manager.requests.length]).toEqual(before);
});

test('the daemon stays after it registered and ends with 0 at SIGTERM', async () => {
  const fleet = await fleetWith();
  const program = launch(at(fleet));
  await program.until((line) => line.event === 'device.registered');
  program.child.kill('SIGTERM');
  expect(await program.ended).toBe(0);
  expect(program.lines.at(-1)).toMatchObject({ event: 'daemon.stopped', signal: 'SIGTERM' });
});

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
  expect(stderr).toMatch(/unknown is 1; there is no such key/);
  expect(existsSync(device.stateDir)).toBe(false);
  expect(fleet.provisioning.requests).toEqual([]);
});

test('a fleet without JetStream registers a device over plain subscriptions', async () => {
  await onboard(at(await fleetWith({ nats: { jetstream: false } })));
});

test('the discontinued API registers a device and keeps what it answers', async () => {
  const fleet = await fleetWith({
    api: 'request',
    fields: () => ({ token: 'aGVsbG8K', configuration: 'a: 1' }),
  });
  const device = at(fleet, { registration: { api: 'request' } });
  await onboard(device);
  expect(JSON.parse(state(device).registration.result)).toMatchObject({
    token: 'aGVsbG8K',
    configuration: 'a: 1',
  });
});

test('a device with no right to JetStream registers over its subscription', async () => {
  const rights = (id: string) => ({
    publish: { allow: [`device_actions.${id}.>`] },
    subscribe: { allow: [`device_results.${id}.>`, '_INBOX.>'] },
  });
  await onboard(at(await fleetWith({ rights })));
});

test('a device with no right to any inbox registers over its subscription', async () => {
  const rights = (id: string) => ({
    publish: { allow: [`device_actions.${id}.>`] },
    subscribe: { allow: [`device_results.${id}.>`] },
  });
  await onboard(at(await fleetWith({ rights })));
});

test('a device that may not publish says NATS_DENIED and registers once it may', async () => {
  const fleet = await fleetWith({
    rights: (id) => ({ publish: { allow: ['elsewhere'] }, subscribe: { allow: [`device_results.${id}.>`] } }),
  });
  const program = launch(at(fleet));
  await program.until(failure('NATS_DENIED'));
  await fleet.nats.setRights(() => 'all');
  await program.until((line) => line.event === 'device.registered');
});

test('a NATS server without TLS gets nothing', async () => {
  const fleet = await fleetWith({ nats: { tls: false } });
  const program = launch(at(fleet), ['--once']);
  expect(await program.ended).toBe(1);
  expect(program.lines.find(failure('NATS_NOT_SECURE'))).toMatchObject({
    class: 'permanent',
    step: 'registering',
  });
  expect(fleet.manager.requests).toEqual([]);
});

test('a closed test network may do without TLS', async () => {
  await onboard(at(await fleetWith({ nats: { tls: false } }), { nats: { tls: 'optional' } }));
});

test('a certificate for another key is refused and not kept', async () => {
  const fleet = await fleetWith();
  fleet.provisioning.behave = () => ({ certificate: { otherKey: true } });
  const device = at(fleet);
  const program = launch(device, ['--once']);
  expect(await program.ended).toBe(1);
  expect(program.lines.some(failure('CERTIFICATE_KEY_MISMATCH'))).toBe(true);
  expect(state(device).provisioned).toBeNull();
});

test.each([
  ['expired', { notBefore: -7200_000, notAfter: -3600_000 }, 'CERTIFICATE_EXPIRED'],
  ['not yet valid', { notBefore: 3600_000, notAfter: 7200_000 }, 'CERTIFICATE_NOT_YET_VALID'],
])('a certificate that is %s is the certificate’s fault while the clocks agree', async (_, dates, code) => {
  const fleet = await fleetWith();
  const date = (ms: number) => new Date(Date.now() + ms);
  fleet.provisioning.behave = () => ({
    certificate: { notBefore: date(dates.notBefore), notAfter: date(dates.notAfter) },
  });
  const program = launch(at(fleet), ['--once']);
  expect(await program.ended).toBe(1);
  expect(program.lines.some(failure(code))).toBe(true);
});

test('a certificate of another device or for servers is refused', async () => {
  const fleet = await fleetWith();
  fleet.provisioning.behave = () => ({
    certificate: { commonName: '/Finland~Solita/fleet/other/registration_agent' },
  });
  const program = launch(at(fleet), ['--once']);
  expect(await program.ended).toBe(1);
  expect(program.lines.some(failure('CERTIFICATE_WRONG_DEVICE'))).toBe(true);
});

test('a captive portal, a redirect, a hang-up and an overload are waited out, and Retry-After is honoured', async () => {
  const fleet = await fleetWith();
  const answers: ProvisioningBehaviour[] = [
    { body: '<html>log in</html>', headers: { 'content-type': 'text/html' } },
    { redirect: 'http://127.0.0.1:1/' },
    'reset',
    { status: 503, headers: { 'retry-after': '2' } },
  ];
  fleet.provisioning.behave = (_, n) => answers[n - 1];
  const program = await onboard(at(fleet));
  const codes = program.lines.filter((line) => line.event === 'step.failed').map((line) => line.code);
  expect(codes).toEqual([
    'PROVISIONING_ANSWER_INVALID',
    'PROVISIONING_ANSWER_INVALID',
    'PROVISIONING_UNREACHABLE',
    'PROVISIONING_REJECTED',
  ]);
  const [before, after] = fleet.provisioning.requests.slice(-2).map(({ at }) => Number(at));
  expect((after ?? 0) - (before ?? 0)).toBeGreaterThanOrEqual(2000);
});

test('an HTTP refusal rests in failed and is tried again', async () => {
  const fleet = await fleetWith();
  fleet.provisioning.behave = (_, n) => (n === 1 ? { status: 403 } : undefined);
  const program = launch(at(fleet));
  expect(await program.until((line) => line.event === 'device.failed')).toMatchObject({
    code: 'PROVISIONING_REJECTED',
  });
  await program.until((line) => line.event === 'device.registered');
});

test('an id that another device registered is a clash, however often it is asked', async () => {
  const fleet = await fleetWith();
  const identity = { deviceId: 'laptop-1' };
  await onboard(at(fleet, { identity }));
  const second = launch(at(fleet, { identity }));
  let seen = 0;
  await second.until((line) => line.event === 'device.failed' && ++seen === 1);
  await second.until(
    (line) =>
      line.event === 'step.failed' &&
      line.code === 'REGISTRATION_REJECTED' &&
      fleet.manager.requests.length >= 3,
  );
  expect(second.lines.some((line) => line.event === 'device.registered')).toBe(false);
});

test('a device that asked before, and whose answer was lost, takes “already registered” as registered', async () => {
  const fleet = await fleetWith({ api: 'plain' });
  fleet.manager.behave = (_, n) => (n === 1 ? 'lose' : undefined);
  const device = at(fleet, { registration: { timeoutMs: 1000 } });
  const program = await onboard(device);
  expect(program.lines.some(failure('REGISTRATION_TIMEOUT'))).toBe(true);
  expect(fleet.manager.accepted.get(state(device).deviceId)?.count).toBe(1);
});

test('a result that was published while the device was off is adopted and nothing is asked again', async () => {
  const fleet = await fleetWith();
  fleet.manager.behave = () => 'hold';
  const device = at(fleet);
  const program = launch(device);
  await fleet.manager.journal.atLeast(1);
  program.child.kill('SIGKILL');
  await program.ended;
  await fleet.manager.release();
  await onboard(device);
  expect(fleet.manager.requests).toHaveLength(1);
});

test('a refusal is read once: the device asks again later and is accepted', async () => {
  const fleet = await fleetWith();
  fleet.manager.behave = (_, n) => (n === 1 ? { reject: 'quota exceeded' } : { delayMs: 1500 });
  const program = launch(at(fleet));
  expect(await program.until((line) => line.event === 'device.failed')).toMatchObject({
    code: 'REGISTRATION_REJECTED',
  });
  await program.until((line) => line.event === 'device.registered');
});

test('results that are damaged, old or for another device never register it', async () => {
  const fleet = await fleetWith({ api: 'plain' });
  fleet.manager.behave = (_, n) =>
    n === 1 ? { raw: '{"status":"succ' } : n === 2 ? { headers: { ID: 'somebody-else' } } : undefined;
  const program = await onboard(at(fleet, { registration: { timeoutMs: 1500 } }));
  expect(program.lines.some(failure('REGISTRATION_ANSWER_INVALID'))).toBe(true);
});

test('killed at any moment and started again, a device keeps its id and key and is accepted once', async () => {
  const fleet = await fleetWith();
  const device = at(fleet, { identity: { keyType: 'ec-p256' } });
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

test('on a link with 600 ms of round trip a device registers, and nothing waits for the far side that need not', async () => {
  const fleet = await fleetWith();
  const relay = await startRelay({ to: { host: '127.0.0.1', port: fleet.nats.port }, delayMs: 300 });
  try {
    const program = await onboard(at(fleet, { nats: { url: `tls://127.0.0.1:${relay.port}` } }));
    const left = program.lines.find((line) => line.event === 'state.changed' && line.from === 'registering');
    // TCP and INFO, TLS, CONNECT and PING, the question and its result: five round trips, and half of one to spare.
    expect(left?.durationMs).toBeLessThan(5.5 * 600);
    expect(left?.durationMs).toBeGreaterThan(3 * 600);
  } finally {
    await relay.stop();
  }
});

/** A clock for the program that a file sets: milliseconds to add to the true time. */
function clockFile(
  folder: string,
  offsetMs: number,
): { env: Record<string, string>; set: (offsetMs: number) => void } {
  const preload = join(folder, 'clock.cjs');
  const offset = join(folder, 'offset');
  const set = (ms: number) => writeFileSync(offset, String(ms));
  set(offsetMs);
  writeFileSync(
    preload,
    `const fs = require('node:fs'); const now = Date.now; const True = Date;
const faked = () => now() + Number(fs.readFileSync(${JSON.stringify(offset)}, 'utf8'));
globalThis.Date = class extends True { constructor(...a) { a.length ? super(...a) : super(faked()); } static now() { return faked(); } };`,
  );
  return { env: { NODE_OPTIONS: `--require ${preload}` }, set };
}

test('a device whose clock starts in 1970 sends nothing, and goes on within seconds of the clock being set', async () => {
  const fleet = await fleetWith();
  const clock = clockFile(fleet.dir, -Date.now());
  const slow = { initialMs: 300_000, maxMs: 300_000, factor: 1, failedAfterMs: 0 };
  const program = start(at(fleet, { retry: slow }), [], clock.env);
  running.push(program);
  await program.until(failure('CLOCK_WRONG'));
  expect(fleet.provisioning.requests).toEqual([]);
  clock.set(0);
  const set = Date.now();
  await program.until((line) => line.event === 'device.registered');
  expect(Date.now() - set).toBeLessThan(5000);
});

test('a clock that is years ahead is told apart from a bad certificate by the server’s Date', async () => {
  const fleet = await fleetWith();
  const clock = clockFile(fleet.dir, 20 * 365 * 86_400_000);
  const slow = { initialMs: 300_000, maxMs: 300_000, factor: 1, failedAfterMs: 0 };
  const program = start(at(fleet, { retry: slow }), [], clock.env);
  running.push(program);
  expect(String((await program.until(failure('CLOCK_WRONG'))).cause)).toMatch(/ahead of the server/);
  clock.set(0);
  const { durationMs } = await program.until((line) => line.event === 'device.registered');
  expect(durationMs, 'a duration that the clock step did not touch').toBeLessThan(10_000);
  expect(durationMs).toBeGreaterThan(0);
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

test.each([
  ['speaks HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
  ['greets with broken JSON', 'INFO {bad\r\n'],
  ['greets with null', 'INFO null\r\n'],
])('a server that %s is told from a NATS server, and does not end the daemon', async (_, greeting) => {
  const fleet = await fleetWith();
  const server = createServer((socket) => socket.on('error', () => undefined).end(greeting)).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const program = launch(at(fleet, { nats: { url: `127.0.0.1:${port}` } }));
  await program.until(
    (line) => line.event === 'step.failed' && line.code === 'NATS_UNREACHABLE' && line.attempt === 2,
  );
  expect(program.child.exitCode).toBeNull();
  server.close();
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

test('a question that nobody heard does not make another device’s id ours', async () => {
  const fleet = await fleetWith({ manager: false });
  const identity = { deviceId: 'laptop-1' };
  const device = at(fleet, { identity });
  const program = launch(device);
  await program.until(failure('REGISTRATION_TIMEOUT'));
  program.child.kill('SIGKILL');
  await program.ended;
  await fleet.startManager({ api: 'plain' });
  await fleet.manager.registry.create('laptop-1', 'another device');
  const again = launch(device);
  await again.until(failure('REGISTRATION_REJECTED'));
  expect(again.lines.some((line) => line.event === 'device.registered')).toBe(false);
});
