import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { type Authority, createAuthority } from '../../../fleet/ca.ts';
import type { Fleet } from '../../../fleet/fleet.ts';
import type { Rights } from '../../../fleet/natsConfig.ts';
import type { ProvisioningBehaviour } from '../../../fleet/provisioningBehaviour.ts';
import { type ForwardProxy, type ProxyOptions, startProxy } from '../../fleet/proxy.ts';
import { startSlowListener } from '../../fleet/slowListener.ts';
import { failure, fleetWith, launch, onboard, state } from '../../support/harness.ts';
import { closedPort } from '../../support/observabilityHarness.ts';
import { type Device, newDevice, programFile } from '../../support/program.ts';

const proxies: ForwardProxy[] = [];
const folders: string[] = [];
/** What this machine's own environment may say of proxies must not decide a test. */
const clean = {
  http_proxy: '',
  HTTP_PROXY: '',
  https_proxy: '',
  HTTPS_PROXY: '',
  no_proxy: '',
  NO_PROXY: '',
};

afterEach(async () => {
  for (const proxy of proxies.splice(0)) await proxy.stop();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

async function proxyWith(options: ProxyOptions = {}): Promise<ForwardProxy> {
  const proxy = await startProxy(options);
  proxies.push(proxy);
  return proxy;
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'networks-'));
  folders.push(path);
  return path;
}

const withProvisioning = (provisioning: Record<string, unknown>, more: Record<string, unknown> = {}) =>
  newDevice({ provisioning, ...more });
const withLogin = (url: string) => url.replace('//', '//user:hunter2@');

interface Seen {
  readonly stdout: string;
  of(id: string): { verdict: string; detail: string } | undefined;
}

/** `onboardd check`, while the servers of this process answer it. */
async function check(device: Device, env: Record<string, string> = {}): Promise<Seen> {
  const args = [programFile, 'check', '--json', '--config', device.configFile];
  const options = { env: { ...process.env, ...clean, ...env } };
  const stdout = await new Promise<string>((resolve) => {
    execFile(process.execPath, args, options, (_, text) => resolve(text));
  });
  const { checks } = JSON.parse(stdout) as { checks: { id: string; verdict: string; detail: string }[] };
  return { stdout, of: (id) => checks.find((each) => each.id === id) };
}

test('https: trusts the CA store of the system, for the daemon and for check', async () => {
  const fleet = await fleetWith();
  const trusting = { ...clean, SSL_CERT_FILE: fleet.caFile, SSL_CERT_DIR: '/nonexistent' };
  const device = withProvisioning({ url: fleet.httpsUrl });
  const refused = launch(device, [], clean);
  await refused.until(failure('PROVISIONING_TLS'));
  refused.child.kill();
  await refused.ended;
  await onboard(device, trusting);
  expect((await check(device, trusting)).of('provisioning-server')).toMatchObject({ verdict: 'pass' });
});

test('of several servers the next is asked after one that cannot be reached, and the log names each', async () => {
  const fleet = await fleetWith();
  const port = await closedPort();
  const url = [`http://127.0.0.1:${port}`, 'https://127.0.0.1:1', fleet.provisioningUrl];
  const device = withProvisioning({ url });
  const program = await onboard(device, clean);
  const failed = program.lines.filter(({ event }) => event === 'step.failed');
  expect(failed.map(({ code }) => code)).toEqual(['PROVISIONING_UNREACHABLE', 'PROVISIONING_UNREACHABLE']);
  expect(failed[0]?.cause).toContain(`the provisioning server 127.0.0.1:${port}`);
  expect(failed[1]?.cause).toContain('the provisioning server 127.0.0.1:1');
  expect((await check(device)).of('provisioning-server')).toMatchObject({
    verdict: 'pass',
    detail: expect.stringContaining(`also: the provisioning server 127.0.0.1:${port}: connection refused`),
  });
});

test('a server that answers is asked again, however it refuses', async () => {
  const fleet = await fleetWith();
  const other = await fleetWith();
  fleet.provisioning.behave = (_, n) => (n < 3 ? { status: 503 } : undefined);
  const program = await onboard(
    withProvisioning({ url: [fleet.provisioningUrl, other.provisioningUrl] }),
    clean,
  );
  expect(fleet.provisioning.requests).toHaveLength(3);
  expect(other.provisioning.requests).toHaveLength(0);
  const [first] = program.lines.filter(({ event }) => event === 'step.failed');
  expect(first?.cause).toContain(`${new URL(fleet.provisioningUrl).host} answered HTTP 503`);
  await fleet.stop();
});

test.each<[string, string, (stranger: Authority) => ProvisioningBehaviour]>([
  ['a redirect', 'PROVISIONING_ANSWER_INVALID', () => ({ redirect: 'http://127.0.0.1:1/' })],
  ['more than it should', 'PROVISIONING_ANSWER_INVALID', () => ({ body: ' '.repeat(600_000) })],
  ['a certificate for another key', 'CERTIFICATE_KEY_MISMATCH', () => ({ certificate: { otherKey: true } })],
  [
    "a stranger's CA, where the fleet's is pinned,",
    'CERTIFICATE_UNTRUSTED',
    (ca) => ({ certificate: { otherAuthority: ca }, answer: { caCertificate: ca.pem } }),
  ],
])('of several servers one that answers with %s keeps no device from the next', async (_, code, wrong) => {
  const fleet = await fleetWith();
  const stranger = await createAuthority({ commonName: 'Stranger' });
  fleet.provisioning.behave = ({ headers }) =>
    headers.host?.startsWith('localhost') ? undefined : wrong(stranger);
  const fleetCaFile = join(folder(), 'ca.pem');
  writeFileSync(fleetCaFile, fleet.ca.pem);
  const url = [fleet.provisioningUrl, fleet.provisioningUrl.replace('127.0.0.1', 'localhost')];
  const program = launch(withProvisioning({ url, fleetCaFile }), [], clean);
  await program.until(({ event }) => event === 'device.registered');
  const failed = program.lines.filter(({ event }) => event === 'step.failed');
  expect(failed.map((line) => line.code)).toEqual([code]);
});

test('another path, an answer in gzip with a byte order mark, and the old spelling of the CA are understood', async () => {
  const fleet = await fleetWith();
  fleet.provisioning.path = '/api/mesh/provision';
  fleet.provisioning.behave = () => ({
    answer: ({ caCertificate }) => ({ caCertificate: undefined, ca_certificate: caCertificate }),
    encoding: 'gzip',
  });
  await onboard(withProvisioning({ url: fleet.provisioningUrl, path: '/api/mesh/provision' }), clean);
});

test('HTTP 202 is waited out as long as the server asks, and the device does not rest in failed', async () => {
  const fleet = await fleetWith();
  fleet.provisioning.behave = (_, n) =>
    n === 1 ? { status: 202, body: '', headers: { 'retry-after': '2' } } : undefined;
  const program = await onboard(withProvisioning({ url: fleet.provisioningUrl }), clean);
  const failed = program.lines.filter(({ event }) => event === 'step.failed');
  expect(failed).toMatchObject([{ code: 'PROVISIONING_REJECTED', reason: 'http-202', class: 'transient' }]);
  const [before, after] = fleet.provisioning.requests.map(({ at }) => at);
  expect((after ?? 0) - (before ?? 0)).toBeGreaterThanOrEqual(2000);
});

test('a claim certificate is shown to an https: server', async () => {
  const fleet = await fleetWith();
  const claims = await createAuthority({ commonName: 'claims' });
  fleet.provisioning.claimAuthority = claims.pem;
  const { chain, key } = await claims.issueClient({ commonName: 'claim' });
  const place = folder();
  const [clientCertFile, clientKeyFile] = [join(place, 'claim.crt'), join(place, 'claim.key')];
  writeFileSync(clientCertFile, chain);
  writeFileSync(clientKeyFile, key, { mode: 0o600 });
  const own = { url: fleet.httpsUrl, caFile: fleet.caFile };
  const without = launch(withProvisioning(own), ['--once'], clean);
  expect(await without.ended).toBe(1);
  expect(without.lines.find(failure('PROVISIONING_REJECTED'))).toMatchObject({ reason: 'http-403' });
  await onboard(withProvisioning({ ...own, clientCertFile, clientKeyFile }), clean);
  writeFileSync(clientKeyFile, 'no key');
  const damaged = launch(withProvisioning({ ...own, clientCertFile, clientKeyFile }), [], clean);
  const line = await damaged.until(failure('PROVISIONING_TLS'));
  expect(line).toMatchObject({ reason: 'credentials-unusable' });
});

/** Everything that the device wrote or printed, for the search for a secret. */
const said = (program: { lines: readonly unknown[]; stderr: () => string }) =>
  JSON.stringify(program.lines) + program.stderr();

test.each<[string, (proxy: string) => { provisioning?: object; env?: Record<string, string> }]>([
  ['provisioning.proxy', (proxy) => ({ provisioning: { proxy } })],
  ['HTTP_PROXY', (proxy) => ({ env: { HTTP_PROXY: proxy } })],
  ['http_proxy', (proxy) => ({ env: { http_proxy: proxy, HTTP_PROXY: 'http://127.0.0.1:1' } })],
])('http: goes through the proxy of %s, whose login is never told', async (_, choose) => {
  const fleet = await fleetWith();
  const proxy = await proxyWith({ login: 'user:hunter2' });
  const { provisioning = {}, env = {} } = choose(withLogin(proxy.url));
  const device = withProvisioning({ url: fleet.provisioningUrl, ...provisioning });
  const program = await onboard(device, { ...clean, ...env });
  const target = `${fleet.provisioningUrl}/api/devices/provision`;
  expect(proxy.requests).toEqual([{ method: 'POST', target, login: 'user:hunter2' }]);
  expect(said(program)).not.toContain('hunter2');
  const seen = await check(device, env);
  expect(seen.of('provisioning-server')).toMatchObject({
    verdict: 'pass',
    detail: expect.stringContaining(`through the proxy 127.0.0.1:${proxy.port}`),
  });
  expect(seen.stdout).not.toContain('hunter2');
});

test('https: goes through a tunnel, and TLS is with the server itself', async () => {
  const fleet = await fleetWith();
  const proxy = await proxyWith();
  const device = withProvisioning({ url: fleet.httpsUrl, caFile: fleet.caFile });
  await onboard(device, { ...clean, HTTPS_PROXY: proxy.url, http_proxy: 'http://127.0.0.1:1' });
  const { host } = new URL(fleet.httpsUrl);
  expect(proxy.requests).toEqual([{ method: 'CONNECT', target: host, login: null }]);
  expect(fleet.provisioning.requests[0]).toMatchObject({ secure: true });
  const untrusting = withProvisioning({ url: fleet.httpsUrl, proxy: proxy.url });
  expect((await check(untrusting)).of('provisioning-server')).toMatchObject({
    verdict: 'fail',
    reason: 'tls-untrusted',
    detail: expect.stringMatching(/issued by CN=Stand-in web root.*through the proxy/),
  });
});

test('NO_PROXY and off lead past the proxy', async () => {
  const fleet = await fleetWith();
  const env = { HTTP_PROXY: 'http://127.0.0.1:1' };
  await onboard(withProvisioning({ url: fleet.provisioningUrl }), {
    ...clean,
    ...env,
    NO_PROXY: '127.0.0.0/8',
  });
  await onboard(withProvisioning({ url: fleet.provisioningUrl, proxy: 'off' }), { ...clean, ...env });
});

test.each<[string, (fleet: Fleet) => Promise<Record<string, unknown>>, Record<string, unknown>]>([
  [
    'does not listen',
    async (fleet) => ({ url: fleet.provisioningUrl, proxy: `http://127.0.0.1:${await closedPort()}` }),
    {
      code: 'PROVISIONING_UNREACHABLE',
      reason: 'proxy-unreachable',
      cause: expect.stringContaining('the proxy 127.0.0.1'),
    },
  ],
  [
    'wants a login for a tunnel',
    async (fleet) => ({ url: fleet.httpsUrl, proxy: (await proxyWith({ login: 'a:b' })).url }),
    { code: 'PROVISIONING_REJECTED', reason: 'http-407', class: 'permanent' },
  ],
  [
    'wants a login',
    async (fleet) => ({ url: fleet.provisioningUrl, proxy: (await proxyWith({ login: 'a:b' })).url }),
    { code: 'PROVISIONING_REJECTED', reason: 'http-407', class: 'permanent' },
  ],
  [
    'does not open the tunnel',
    async (fleet) => ({
      url: fleet.httpsUrl,
      proxy: (await proxyWith({ refuses: new URL(fleet.httpsUrl).host })).url,
    }),
    { code: 'PROVISIONING_UNREACHABLE', reason: 'proxy-refused', class: 'transient' },
  ],
])('a proxy that %s has a reason', async (_, choose, expected) => {
  const fleet = await fleetWith();
  const program = launch(withProvisioning(await choose(fleet)), [], clean);
  expect(await program.until(({ event }) => event === 'step.failed')).toMatchObject(expected);
});

test('a proxy of another kind in the environment is a mistake of the configuration', async () => {
  const device = withProvisioning({ url: 'http://127.0.0.1:1' });
  const program = launch(device, ['--once'], { ...clean, http_proxy: 'socks5://user:hunter2@127.0.0.1:1' });
  expect(await program.ended).toBe(78);
  expect(program.stderr()).toContain('HTTP_PROXY is no proxy of the form http://host:port');
  expect(said(program)).not.toContain('hunter2');
});

test('NATS goes through a tunnel only if a proxy is configured for it', async () => {
  const fleet = await fleetWith();
  const proxy = await proxyWith({ login: 'user:hunter2' });
  const elsewhere = { ...clean, HTTPS_PROXY: 'http://127.0.0.1:1', HTTP_PROXY: proxy.url, NO_PROXY: '*' };
  const device = withProvisioning({ url: fleet.provisioningUrl }, { nats: { proxy: withLogin(proxy.url) } });
  const program = await onboard(device, elsewhere);
  const target = `127.0.0.1:${fleet.nats.port}`;
  expect(proxy.requests).toEqual([{ method: 'CONNECT', target, login: 'user:hunter2' }]);
  const seen = await check(device, elsewhere);
  expect(seen.of('nats-server')).toMatchObject({
    verdict: 'pass',
    detail: expect.stringContaining(`through the proxy 127.0.0.1:${proxy.port}`),
  });
  expect(said(program) + seen.stdout).not.toContain('hunter2');
  await onboard(withProvisioning({ url: fleet.provisioningUrl }), elsewhere);
  expect(proxy.requests.filter((request) => request.method === 'POST')).toEqual([]);
});

test('the request carries the CA that is asked for', async () => {
  const fleet = await fleetWith({ authority: { intermediate: true } });
  const url = fleet.provisioningUrl;
  for (const caCertificate of ['answer', 'chain']) {
    const device = withProvisioning({ url }, { registration: { caCertificate } });
    await onboard(device, clean);
    const { provisioned, deviceId } = state(device);
    const request = fleet.manager.requests.find(({ id }) => id === deviceId);
    const last = `${provisioned.certificate
      .trim()
      .split(/(?=-----BEGIN)/)
      .at(-1)}\n`;
    expect(last).not.toBe(provisioned.caCertificate);
    expect(request?.body?.caCertificate).toBe(caCertificate === 'answer' ? provisioned.caCertificate : last);
  }
});

/** What the reference client has: it makes consumers on the stream and hears its inbox, and nothing else. */
const referenceRights =
  (create: string) =>
  (id: string): Rights => ({
    publish: {
      allow: [
        `device_actions.${id}.>`,
        create,
        '$JS.API.CONSUMER.INFO.DEVICE_RESULTS.>',
        '$JS.API.STREAM.NAMES',
      ],
    },
    subscribe: { allow: ['_INBOX.>'] },
  });

test.each([
  ['of today', '$JS.API.CONSUMER.CREATE.DEVICE_RESULTS.>'],
  ['of old', '$JS.API.CONSUMER.CREATE.DEVICE_RESULTS'],
])('with the rights of the reference client, in the form %s, the result is read by a consumer', async (_, create) => {
  const fleet = await fleetWith({ rights: referenceRights(create) });
  const device = withProvisioning({ url: fleet.provisioningUrl });
  const program = await onboard(device, clean);
  expect(program.lines.filter(failure('NATS_DENIED'))).toEqual([]);
  expect([...fleet.manager.accepted.values()].map(({ count }) => count)).toEqual([1]);
});

test('with the rights of the reference client a result that came while the device was away is read', async () => {
  const fleet = await fleetWith({ rights: referenceRights('$JS.API.CONSUMER.CREATE.DEVICE_RESULTS.>') });
  fleet.manager.behave = () => 'hold';
  const device = withProvisioning({ url: fleet.provisioningUrl });
  const first = launch(device, [], clean);
  await fleet.manager.journal.first(() => true);
  first.child.kill('SIGKILL');
  await first.ended;
  await fleet.manager.release();
  fleet.manager.behave = () => 'ignore';
  await onboard(device, clean);
  expect(fleet.manager.requests).toHaveLength(1);
  expect(fleet.nats.isRunning).toBe(true);
});

test('a device whose time is up names the server and the addresses that were silent', async () => {
  const silent = await startSlowListener({ host: '127.0.0.1', port: 9 });
  try {
    const url = `http://localhost:${silent.port}`;
    const program = launch(newDevice({ provisioning: { url, timeoutMs: 3000 } }));
    expect(await program.until(failure('PROVISIONING_TIMEOUT'))).toMatchObject({
      cause: expect.stringMatching(
        /^the provisioning server localhost:\d+ \(tried .*127\.0\.0\.1.*\): no answer in time/,
      ),
    });
  } finally {
    await silent.stop();
  }
});
