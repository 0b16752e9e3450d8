import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, expect, test } from 'vitest';
import { catalogue } from '../src/errors.ts';
import { events } from '../src/events.ts';
import { explain } from '../src/services/explain.ts';
import { createAuthority } from './fleet/ca.ts';
import { type Fleet, type FleetOptions, startFleet } from './fleet/fleet.ts';
import {
  checkLine,
  type Device,
  newDevice,
  programFile,
  type Running,
  removeDevices,
  runToEnd,
  start,
} from './program.ts';

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

const at = (fleet: Fleet, more: Record<string, unknown> = {}) =>
  newDevice({ provisioning: { url: fleet.provisioningUrl }, identity: { keyType: 'ec-p256' }, ...more });
/** Runs while the fleet, which lives in this process, answers. */
async function tell(
  device: Device,
  ...args: string[]
): Promise<{ status: number; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [programFile, ...args, '--config', device.configFile]);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (text) => {
    stdout += text;
  });
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  const [status] = await once(child, 'close');
  return { status, stdout, stderr };
}
interface Shown {
  readonly id: string;
  readonly verdict: string;
  readonly code: string | null;
  readonly problem: string | null;
  readonly detail: string;
  readonly remedy: string | null;
}
async function checks(device: Device): Promise<Record<string, Shown>> {
  const { stdout } = await tell(device, 'check', '--json');
  return Object.fromEntries((JSON.parse(stdout).checks as Shown[]).map((check) => [check.id, check]));
}
const registered = ({ event }: { event: string }) => event === 'device.registered';

test('a line that the catalogue does not know is refused', () => {
  const good = {
    timestamp: '2026-11-24T00:00:00.000Z',
    level: 'info',
    event: 'daemon.stopped',
    message: 'x',
    signal: null,
  };
  checkLine(good);
  for (const bad of [
    { ...good, event: 'daemon.melted' },
    { ...good, signal: 5 },
    { ...good, extra: 1 },
    { ...good, level: 'warn' },
  ])
    expect(() => checkLine(bad)).toThrow('not in the catalogue');
});

test('message ids are 128 bits and unique', () => {
  const ids = Object.values(events).map(({ messageId }) => messageId);
  expect(ids.every((id) => /^[0-9a-f]{32}$/.test(id))).toBe(true);
  expect(new Set(ids).size).toBe(ids.length);
});

test('explain knows every error code, event and message id', () => {
  for (const [code, { cause, remedy }] of Object.entries(catalogue))
    expect(explain(code.toLowerCase())?.join('\n')).toContain(`${cause}\nremedy  ${remedy}`);
  for (const [name, { meaning, messageId }] of Object.entries(events)) {
    expect(explain(name)?.join('\n')).toContain(meaning);
    expect(explain(messageId)).toEqual(explain(name));
  }
  expect(explain('__proto__')).toBeNull();
  const { status, stdout } = runToEnd(['explain', 'NATS_TLS', 'step.failed']);
  expect(status).toBe(0);
  expect(stdout).toContain(catalogue.NATS_TLS.remedy);
  expect(stdout).toContain('retryInMs');
});

test('explain says so where there is no such code', () => {
  expect(runToEnd(['explain', 'NATS_SLEEPY'])).toMatchObject({ status: 64, stdout: '' });
});

test('status tells a person state, way, certificate and whether the daemon runs', async () => {
  const device = at(await fleetWith());
  const before = await tell(device, 'status');
  expect(before).toMatchObject({ status: 3 });
  expect(before.stdout).toMatch(/^waits for +the daemon to be started .*: nothing has begun$/m);
  const program = launch(device);
  await program.until(registered);
  const { status, stdout } = await tell(device, 'status');
  expect(status).toBe(0);
  expect(stdout).toMatch(/^state +registered for \d\.\d s, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/m);
  expect(stdout).toMatch(/^waits for +the renewal of its certificate, in \d+ d/m);
  expect(stdout).toMatch(/^certificate +CN=.*registration_agent, valid for 36\d d/m);
  expect(stdout).toMatch(
    /^way +idle .* → keygen .* → csr .* → provisioned .* → registering \S+ s → registered$/m,
  );
  expect(stdout).toMatch(/^daemon +runs$/m);
  program.child.kill('SIGTERM');
  await program.ended;
  expect((await tell(device, 'status')).stdout).toMatch(/^daemon +does not run$/m);
  expect(JSON.parse((await tell(device, 'status', '--json')).stdout)).toMatchObject({ running: false });
});

test('status says in one line what a failing device waits for, and the remedy', async () => {
  const fleet = await fleetWith();
  fleet.provisioning.behave = () => ({ status: 503 });
  const device = at(fleet, { retry: { initialMs: 60_000, maxMs: 60_000, factor: 1, failedAfterMs: 0 } });
  await launch(device).until(({ event }) => event === 'step.failed');
  await expect
    .poll(async () => (await tell(device, 'status')).stdout)
    .toMatch(/^waits for +the next try, in \d+(\.\d)? s, at .* UTC \(attempt 1 failed\)$/m);
  const { stdout } = await tell(device, 'status');
  expect(stdout).toMatch(/^last error +PROVISIONING_REJECTED: .*503 \(\d+\.\d s ago\)$/m);
  expect(stdout).toContain(catalogue.PROVISIONING_REJECTED.remedy);
});

test('a damaged history costs nothing but itself', async () => {
  const device = at(await fleetWith());
  await launch(device, ['--once']).ended;
  const file = join(device.stateDir, 'state.json');
  const state = JSON.parse(readFileSync(file, 'utf8'));
  expect(state.progress.history).toHaveLength(5);
  const visit = { state: 'csr', at: '2026-01-01T00:00:00Z', durationMs: 5 };
  for (const [history, kept] of [
    [undefined, []],
    ['rubbish', []],
    [[1, null, { state: 'csr' }, { ...visit, state: 'no' }, visit, { ...visit, durationMs: -1 }], [visit]],
    [Array(10_000).fill(visit), [visit]],
  ]) {
    writeFileSync(file, JSON.stringify({ ...state, progress: { ...state.progress, history } }));
    const { status, stdout } = await tell(device, 'status', '--json');
    expect(status).toBe(0);
    expect(JSON.parse(stdout).history).toEqual(kept);
  }
});

test('status --watch follows the device and ends by Ctrl-C', async () => {
  const device = at(await fleetWith());
  const child = spawn(process.execPath, [
    programFile,
    'status',
    '--watch',
    '--json',
    '--config',
    device.configFile,
  ]);
  const seen: { state: string; running: boolean }[] = [];
  const output = createInterface({ input: child.stdout });
  const sees = (state: string, isRunning: boolean) =>
    expect.poll(() => seen.at(-1), { timeout: 10_000 }).toMatchObject({ state, running: isRunning });
  output.on('line', (line) => seen.push(JSON.parse(line)));
  await sees('idle', false);
  const program = launch(device);
  await sees('registered', true);
  program.child.kill('SIGTERM');
  await sees('registered', false);
  child.kill('SIGINT');
  const [code] = await once(child, 'exit');
  expect(code).toBe(0);
  expect(seen.length).toBeLessThan(20);
});

test.runIf(process.getuid?.() === 0)(
  'another user learns who may read the state, and that the daemon runs',
  async () => {
    const device = at(await fleetWith());
    await launch(device).until(registered);
    chmodSync(join(device.stateDir, '..'), 0o755);
    const child = spawn(process.execPath, [programFile, 'status', '--config', device.configFile], {
      uid: 65534,
      gid: 65534,
      cwd: '/',
    });
    let stderr = '';
    child.stderr.on('data', (text) => {
      stderr += text;
    });
    const [status] = await once(child, 'close');
    expect(stderr).toMatch(/can be read by root alone: `sudo onboardd status`; the daemon runs/);
    expect(status).toBe(3);
  },
);

test('check passes a device before, while and after it is onboarded, and changes nothing', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  const before = await checks(device);
  expect(Object.values(before).map(({ verdict }) => verdict)).toEqual([
    'pass',
    'pass',
    'pass',
    'skip',
    'pass',
    'skip',
    'skip',
  ]);
  expect(() => statSync(device.stateDir)).toThrow();
  const program = launch(device);
  await program.until(registered);
  const asked = fleet.provisioning.requests.filter(({ method }) => method === 'POST').length;
  await expect.poll(async () => (await tell(device, 'status')).status).toBe(0);
  const look = () =>
    ['.', ...readdirSync(device.stateDir)].map((name) => {
      const { mtimeMs, ctimeMs, ino } = statSync(join(device.stateDir, name));
      return [name, mtimeMs, ctimeMs, ino];
    });
  const files = look();
  const { status, stdout } = await tell(device, 'check');
  expect(status, stdout).toBe(0);
  expect(stdout).toMatch(/^pass {2}nats-server .* lets this device in/m);
  expect(stdout).toMatch(/^pass {2}certificate .* valid for 36\d d/m);
  expect(stdout.trim().split('\n')).toHaveLength(8);
  expect(look()).toEqual(files);
  expect(fleet.provisioning.requests.filter(({ method }) => method === 'POST')).toHaveLength(asked);
  expect(fleet.manager.requests).toHaveLength(1);
  expect(stdout).not.toMatch(/PRIVATE|Bearer/);
});

const closedPort = async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
};

test('check tells apart what keeps a device from the provisioning server', async () => {
  const fleet = await fleetWith({ token: 'letmein' });
  const of = async (provisioning: Record<string, unknown>) =>
    checks(newDevice({ provisioning: { timeoutMs: 2000, ...provisioning } }));
  expect((await of({ url: 'http://no-such-host.invalid' }))['name-resolution']).toMatchObject({
    verdict: 'fail',
    code: 'PROVISIONING_UNREACHABLE',
  });
  expect((await of({ url: `http://127.0.0.1:${await closedPort()}` }))['provisioning-server']).toMatchObject({
    problem: 'refused',
  });
  const untrusted = (await of({ url: fleet.httpsUrl }))['provisioning-server'];
  expect(untrusted).toMatchObject({ problem: 'tls-untrusted', code: 'PROVISIONING_TLS' });
  expect(untrusted?.detail).toMatch(
    /its certificate: CN=localhost, issued by CN=Stand-in web root, valid 20.* to 20.*, for DNS:localhost/,
  );
  expect((await of({ url: fleet.httpsUrl, caFile: fleet.caFile }))['provisioning-server']).toMatchObject({
    verdict: 'pass',
  });
  const silent = createServer().listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  expect((await of({ url: `http://127.0.0.1:${port}` }))['provisioning-server']).toMatchObject({
    problem: 'silent',
    code: 'PROVISIONING_TIMEOUT',
  });
  silent.close();
});

test('check tells apart what keeps a device from NATS', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  await launch(device, ['--once']).ended;
  const nats = async () => (await checks(device))['nats-server'];
  expect(await nats()).toMatchObject({ verdict: 'pass' });
  await fleet.nats.setRights(() => ({ subscribe: { allow: ['elsewhere'] } }));
  expect(await nats()).toMatchObject({ problem: 'permission', code: 'NATS_DENIED' });
  await fleet.nats.setRights(() => 'none');
  expect(await nats()).toMatchObject({ problem: 'not-let-in', code: 'NATS_DENIED' });
  const other = await createAuthority({ commonName: 'another CA' });
  await fleet.nats.restart({ serverCertificate: await other.issueServer({ hosts: ['127.0.0.1'] }) });
  const untrusted = await nats();
  expect(untrusted).toMatchObject({ problem: 'tls-untrusted', code: 'NATS_TLS' });
  expect(untrusted?.detail).toContain('issued by CN=another CA');
  await fleet.nats.restart({ serverCertificate: undefined, clientAuthority: other });
  expect(await nats()).toMatchObject({ problem: 'tls-refused-us', code: 'NATS_TLS' });
  await fleet.nats.restart({ clientAuthority: undefined, tls: false });
  expect(await nats()).toMatchObject({ problem: 'not-secure', code: 'NATS_NOT_SECURE' });
  await fleet.nats.kill('SIGKILL');
  expect(await nats()).toMatchObject({ problem: 'refused', code: 'NATS_UNREACHABLE' });
});

test('check with an invalid configuration ends with 78 and names the key', async () => {
  const device = newDevice({ provisioning: { url: 'ftp://user:secret@host' } });
  const { status, stdout } = await tell(device, 'check');
  expect(status).toBe(78);
  expect(stdout).toMatch(
    /^fail {2}configuration .*provisioning\.url is .*; allowed: an http: or https: URL/m,
  );
  expect(stdout).not.toContain('secret');
  expect(stdout).toMatch(/^skip {2}provisioning-server/m);
});
