import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { createAuthority } from '../../../fleet/ca.ts';
import { at, fleetWith, launch } from '../../support/harness.ts';
import { checks, closedPort, patience, registered } from '../../support/observabilityHarness.ts';
import { newDevice, temporaryFolder } from '../../support/program.ts';
import { runCommand } from '../../support/runCommand.ts';

const servers: Server[] = [];
const folders: string[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

async function listening(server: Server): Promise<number> {
  servers.push(server);
  server.on('connection', (socket) => socket.on('error', () => undefined));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

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
    'fail',
  ]);
  expect(before.registration).toMatchObject({
    code: null,
    remedy: expect.stringContaining('systemctl start'),
  });
  expect((await runCommand(device, 'check')).status).toBe(1);
  expect(() => statSync(device.stateDir)).toThrow();
  const program = launch(device);
  await program.until(registered);
  const asked = fleet.provisioning.requests.filter(({ method }) => method === 'POST').length;
  await expect.poll(async () => (await runCommand(device, 'status')).status, patience).toBe(0);
  const look = () =>
    ['.', ...readdirSync(device.stateDir)].map((name) => {
      const { mtimeMs, ctimeMs, ino } = statSync(join(device.stateDir, name));
      return [name, mtimeMs, ctimeMs, ino];
    });
  const files = look();
  const { status, stdout } = await runCommand(device, 'check');
  expect(status, stdout).toBe(0);
  expect(stdout).toMatch(/^pass {2}nats-server .* accepts this device/m);
  expect(stdout).toMatch(/^pass {2}certificate .* valid for 36\d d/m);
  expect(stdout.trim().split('\n')).toHaveLength(9);
  expect(stdout).toMatch(/^All checks passed/);
  expect(look()).toEqual(files);
  expect(fleet.provisioning.requests.filter(({ method }) => method === 'POST')).toHaveLength(asked);
  expect(fleet.manager.requests).toHaveLength(1);
  expect(stdout).not.toMatch(/PRIVATE|Bearer/);
});

test('check names a sealed key that cannot be opened, and still looks at the rest of the state', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  const program = launch(device);
  await program.until(registered);
  program.child.kill();
  await program.ended;
  writeFileSync(join(device.stateDir, 'identity.key'), `${'QUJD'.repeat(40)}\n`);
  const path = process.env.PATH;
  const look = async () => {
    const found = await checks(device);
    expect(found['state-directory']?.verdict).toBe('pass');
    expect(found.certificate).toMatchObject({ verdict: 'skip', detail: expect.stringContaining('see key') });
    expect(found['nats-server']?.detail).toContain('127.0.0.1');
    expect((await runCommand(device, 'check')).status).toBe(1);
    return found.key;
  };
  const isThere = spawnSync('systemd-creds', ['--version']).status === 0;
  if (isThere)
    expect(await look()).toMatchObject({ verdict: 'fail', code: 'STATE_CORRUPT', reason: 'key-sealed' });
  try {
    const flock = ['/usr/bin/flock', '/bin/flock'].find((file) => existsSync(file)) ?? '';
    process.env.PATH = temporaryFolder();
    symlinkSync(flock, join(process.env.PATH, 'flock'));
    expect(await look()).toMatchObject({
      verdict: 'fail',
      code: 'STATE_UNWRITABLE',
      reason: 'unseal-failed',
      remedy: expect.stringContaining('systemd-creds'),
    });
  } finally {
    process.env.PATH = path;
  }
});

test('check tells apart what keeps a device from the provisioning server', async () => {
  const fleet = await fleetWith({ token: 'letmein' });
  const of = async (provisioning: Record<string, unknown>) =>
    checks(newDevice({ provisioning: { timeoutMs: 2000, ...provisioning } }));
  expect((await of({ url: 'http://no-such-host.invalid' }))['name-resolution']).toMatchObject({
    verdict: 'fail',
    code: 'PROVISIONING_UNREACHABLE',
  });
  expect((await of({ url: `http://127.0.0.1:${await closedPort()}` }))['provisioning-server']).toMatchObject({
    reason: 'refused',
  });
  const untrusted = (await of({ url: fleet.httpsUrl }))['provisioning-server'];
  expect(untrusted).toMatchObject({ reason: 'tls-untrusted', code: 'PROVISIONING_TLS' });
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
    reason: 'timeout',
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
  expect(await nats()).toMatchObject({ reason: 'permission-denied', code: 'NATS_DENIED' });
  await fleet.nats.setRights(() => 'none');
  expect(await nats()).toMatchObject({ reason: 'not-authorized', code: 'NATS_DENIED' });
  const other = await createAuthority({ commonName: 'another CA' });
  await fleet.nats.restart({ serverCertificate: await other.issueServer({ hosts: ['127.0.0.1'] }) });
  const untrusted = await nats();
  expect(untrusted).toMatchObject({ reason: 'tls-untrusted', code: 'NATS_TLS' });
  expect(untrusted?.detail).toContain('issued by CN=another CA');
  await fleet.nats.restart({ serverCertificate: undefined, clientAuthority: other });
  expect(await nats()).toMatchObject({ reason: 'client-certificate-refused', code: 'NATS_TLS' });
  await fleet.nats.restart({ clientAuthority: undefined, tls: false });
  expect(await nats()).toMatchObject({ reason: 'no-tls', code: 'NATS_NOT_SECURE' });
  await fleet.nats.kill('SIGKILL');
  expect(await nats()).toMatchObject({ reason: 'refused', code: 'NATS_UNREACHABLE' });
});

const wrongHost = async () => {
  const authority = await createAuthority({ commonName: 'web' });
  const { chain, key } = await authority.issueServer({ hosts: ['example.org'] });
  return { pem: authority.pem, port: await listening(createHttps({ cert: chain, key })) };
};
const answering = (status: number, headers: Record<string, string>) =>
  listening(createHttp({ keepAliveTimeout: 1 }, (_, response) => response.writeHead(status, headers).end()));

test.each<[string, () => Promise<{ url: string; pem?: string }>, string, string]>([
  [
    'a refused connection',
    async () => ({ url: `http://127.0.0.1:${await closedPort()}` }),
    'PROVISIONING_UNREACHABLE',
    'refused',
  ],
  [
    'silence',
    async () => ({ url: `http://127.0.0.1:${await listening(createServer(() => undefined))}` }),
    'PROVISIONING_TIMEOUT',
    'timeout',
  ],
  [
    'a certificate for another host',
    async () => {
      const { pem, port } = await wrongHost();
      return { url: `https://127.0.0.1:${port}`, pem };
    },
    'PROVISIONING_TLS',
    'tls-wrong-host',
  ],
  [
    'HTTP in place of TLS',
    async () => ({ url: `https://127.0.0.1:${await answering(200, {})}` }),
    'PROVISIONING_TLS',
    'not-tls',
  ],
  [
    'something else than HTTP',
    async () => ({
      url: `http://127.0.0.1:${await listening(createServer((socket) => socket.end('SSH-2.0-x\r\n\r\n')))}`,
    }),
    'PROVISIONING_ANSWER_INVALID',
    'not-http',
  ],
  [
    'a redirect',
    async () => ({ url: `http://127.0.0.1:${await answering(301, { location: '/' })}` }),
    'PROVISIONING_ANSWER_INVALID',
    'redirected',
  ],
  [
    'a server that is overloaded',
    async () => ({ url: `http://127.0.0.1:${await answering(503, {})}` }),
    'PROVISIONING_REJECTED',
    'http-503',
  ],
])('the log, status and check tell the same code and reason of %s', async (_, serve, code, reason) => {
  const { url, pem } = await serve();
  const retry = { initialMs: 300_000, maxMs: 300_000, factor: 1, failedAfterMs: 0 };
  const folder = mkdtempSync(join(tmpdir(), 'onboardd-check-'));
  folders.push(folder);
  const caFile = join(folder, 'ca.crt');
  if (pem !== undefined) writeFileSync(caFile, pem);
  const provisioning = { url, timeoutMs: 1000, ...(pem === undefined ? {} : { caFile }) };
  const device = newDevice({ provisioning, retry });
  const line = await launch(device).until(({ event }) => event === 'step.failed');
  expect(line).toMatchObject({ code, reason });
  const lastError = async () => JSON.parse((await runCommand(device, 'status', '--json')).stdout).lastError;
  await expect.poll(lastError, patience).toMatchObject({ code, reason });
  expect((await checks(device))['provisioning-server']).toMatchObject({ verdict: 'fail', code, reason });
});

test('check with an invalid configuration ends with 78 and names the key', async () => {
  const device = newDevice({ provisioning: { url: 'ftp://user:secret@host' } });
  const { status, stdout } = await runCommand(device, 'check');
  expect(status).toBe(78);
  expect(stdout).toMatch(
    /^fail {2}configuration .*provisioning\.url is .*; allowed: an http: or https: URL/m,
  );
  expect(stdout).not.toContain('secret');
  expect(stdout).toMatch(/^skip {2}provisioning-server/m);
  expect(stdout).toMatch(
    /^Needs attention: 2 of 8 checks failed \(configuration, registration\), \d skipped \(/,
  );
});
