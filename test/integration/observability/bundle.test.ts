import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { at, fleetWith, onboard } from '../../support/harness.ts';
import { newDevice, temporaryFolder } from '../../support/program.ts';
import { runCommand } from '../../support/runCommand.ts';

const path = process.env.PATH;
afterEach(() => {
  process.env.PATH = path;
});

const token = 'provisioning-token-4711';
const secrets = {
  token: 'result-token-4712',
  config: { password: 'result-password-4713', deep: ['4714-deep-secret'] },
};

/** File of the archive → its text. */
function unpacked(archive: string): Record<string, string> {
  const names = execFileSync('tar', ['-tzf', archive], { encoding: 'utf8' }).trim().split('\n');
  return Object.fromEntries(
    names.map((name) => [
      name.replace('onboardd/', ''),
      execFileSync('tar', ['-xzOf', archive, name], { encoding: 'utf8' }),
    ]),
  );
}

/** A journal whose lines hold every secret, as if a program had logged them. */
function leakyJournal(texts: readonly (string | Buffer)[]): string {
  const folder = temporaryFolder();
  const lines = texts
    .map((text) => JSON.stringify({ MESSAGE: typeof text === 'string' ? `leaked ${text}` : [...text] }))
    .join('\n');
  writeFileSync(join(folder, 'lines'), `${lines}\n`);
  writeFileSync(join(folder, 'journalctl'), `#!/bin/sh\ncat ${folder}/lines\n`);
  chmodSync(join(folder, 'journalctl'), 0o755);
  return `${folder}:${process.env.PATH}`;
}

test('a bundle holds what support asks for, and none of the secrets of the device', async () => {
  const fleet = await fleetWith({ token, fields: () => secrets });
  const tokenFile = join(temporaryFolder(), 'token');
  writeFileSync(tokenFile, `${token}\n`, { mode: 0o600 });
  const device = at(fleet, { provisioning: { url: fleet.provisioningUrl, tokenFile } });
  await onboard(device);
  const config = JSON.parse(readFileSync(device.configFile, 'utf8'));
  const nats = { url: fleet.natsUrl.replace('://', '://device:nats-password-4715@') };
  writeFileSync(device.configFile, JSON.stringify({ ...config, nats }));
  const key = readFileSync(join(device.stateDir, 'identity.key'), 'utf8');
  const planted = [
    token,
    secrets.token,
    secrets.config.password,
    '4714-deep-secret',
    'nats-password-4715',
    ...key.split('\n').filter((line) => line !== '' && !line.startsWith('-----')),
  ];
  const archive = join(temporaryFolder(), 'bundle.tar.gz');
  process.env.PATH = leakyJournal([...planted, key]);
  const { status, stdout, stderr } = await runCommand(device, 'bundle', archive);
  expect(status, stderr).toBe(0);
  expect(stdout).toContain(archive);
  expect(statSync(archive).mode & 0o777).toBe(0o600);
  const files = unpacked(archive);
  expect(JSON.parse(files['status.json'] ?? '')).toMatchObject({ state: 'registered' });
  expect(JSON.parse(files['check.json'] ?? '').checks).toHaveLength(8);
  expect(files['versions.txt']).toMatch(/^onboardd \S+\nnode \d/);
  expect(files['files.txt']).toMatch(/^0600 \S+ \d+ \S+Z identity\.key$/m);
  expect(files['configuration-0.txt']).toContain('"mobile"');
  expect(files['log.txt']).toMatch(/^\{"MESSAGE":"leaked \*\*\*/);
  const everything = Object.values(files).join('\n') + stdout;
  expect(planted.filter((secret) => everything.includes(secret))).toEqual([]);
});

test('a bundle holds none of the credentials that settings and environment files may have', async () => {
  const folder = temporaryFolder();
  const claimKey = join(folder, 'claim.key');
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  writeFileSync(claimKey, pem);
  const planted = {
    est: 'est-password-4721',
    proxy: 'proxy-password-4722',
    natsProxy: 'nats-proxy-password-4723',
    natsToken: 'nats-token-4724',
    query: 'url-query-token-4725',
    pat: 'personal-access-token-4726',
    exported: 'exported-token-4727',
    agentToken: 'agent-token-4728',
    bytes: 'bytes-token-4729',
    inJson: 'password-in-json-4730',
    apiKey: 'api-key-4731',
  };
  // Of a device whose state is lost: only the files say what is secret.
  const exported = join(folder, 'exported');
  writeFileSync(exported, `device ${planted.exported}\n`);
  const agentToken = join(folder, 'PAT.pat');
  writeFileSync(agentToken, `device ${planted.agentToken}\n`);
  const device = newDevice({
    provisioning: {
      url: `https://me:${planted.est}@127.0.0.1:1/?token=${planted.query}`,
      proxy: `http://me:${planted.proxy}@127.0.0.1:1`,
      clientCertFile: claimKey,
      clientKeyFile: claimKey,
    },
    nats: {
      url: `tls://${planted.natsToken}@127.0.0.1:1`,
      proxy: `http://me:${planted.natsProxy}@127.0.0.1:1`,
    },
    exports: { token: { path: exported, mode: '0600' } },
  });
  const envFile = join(folder, 'agent.env');
  writeFileSync(
    envFile,
    `PAT=${planted.pat}\nAPI_KEY=${planted.apiKey}\nDEVICE_AUTH_TOKEN_FILE=${agentToken}\n`,
  );
  const secrets = [
    ...Object.values(planted),
    ...pem.split('\n').filter((line) => line !== '' && !line.startsWith('-----')),
  ];
  process.env.PATH = leakyJournal([
    ...[pem, planted.exported, planted.agentToken],
    JSON.stringify({ cause: JSON.stringify({ password: planted.inJson }) }),
    Buffer.from(`Authorization: Bearer ${planted.bytes}`),
  ]);
  const archive = join(temporaryFolder(), 'bundle.tar.gz');
  const { status, stdout, stderr } = await runCommand(device, 'bundle', archive, '--env-file', envFile);
  expect(status, stderr).toBe(0);
  const files = unpacked(archive);
  const everything = Object.values(files).join('\n') + stdout + stderr;
  expect(secrets.filter((secret) => everything.includes(secret))).toEqual([]);
  expect(files['log.txt']).toContain('"Authorization: Bearer ***"');
  // Whoever gets it can still see where everything lies, and what fails.
  for (const told of [exported, agentToken, claimKey, '127.0.0.1:1', 'CONFIG_INVALID'])
    expect(everything).toContain(told);
});

test('a bundle is made although the configuration cannot be read', async () => {
  const device = newDevice({});
  writeFileSync(device.configFile, '{"provisioning": {"url": "http://me:url-password-4716@host"');
  const archive = join(temporaryFolder(), 'bundle.tar.gz');
  expect((await runCommand(device, 'bundle', archive)).status).toBe(0);
  const files = unpacked(archive);
  expect(files['check.json']).toContain('CONFIG_INVALID');
  expect(Object.values(files).join('\n')).not.toContain('url-password-4716');
});

test('a bundle is made although files that the configuration names are pipes, and says so', async () => {
  const folder = temporaryFolder();
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const device = newDevice({ provisioning: { url: 'https://127.0.0.1:1', tokenFile: pipe } });
  const overlays = device.configFile.replace(/json$/, 'd');
  mkdirSync(overlays);
  execFileSync('mkfifo', [join(overlays, 'pipe.json')]);
  // Node 20 reads the file of --env-file itself, before the program.
  for (const flags of [[], ['--agent-config', pipe]]) {
    const archive = join(temporaryFolder(), 'bundle.tar.gz');
    const { status, stderr } = await runCommand(device, 'bundle', archive, ...flags);
    expect(status, stderr).toBe(0);
    const all = Object.values(unpacked(archive)).join('\n');
    expect(all.match(/^# .*pipe.*\ncannot be read: it is not a regular file$/gm)).toHaveLength(
      1 + flags.length / 2,
    );
  }
  const archive = join(temporaryFolder(), 'bundle.tar.gz');
  expect((await runCommand({ ...device, configFile: pipe }, 'bundle', archive)).status).toBe(0);
});

test('a bundle replaces no file', async () => {
  const file = join(temporaryFolder(), 'mine');
  writeFileSync(file, 'mine');
  const { status, stderr } = await runCommand(newDevice({}), 'bundle', file);
  expect([status, readFileSync(file, 'utf8')]).toEqual([1, 'mine']);
  expect(stderr).toMatch(/cannot write .*mine: .*EEXIST/);
  expect(existsSync(`${file}.tar.gz`)).toBe(false);
});
