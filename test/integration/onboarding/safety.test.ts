import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createAuthority } from '../../../fleet/ca.ts';
import { at, fleetWith, launch, onboard, state } from '../../support/harness.ts';
import { newDevice, programFile, runToEnd } from '../../support/program.ts';
import { runCommand } from '../../support/runCommand.ts';

/** Turns the order of what follows: an alias with control characters is refused, one with these is not. */
const alias = 'Al\u202epha\u200e\u2066\ufeffBeta';
/** Clears a terminal and breaks a line, too. */
const nasty = `${alias}\u009b2J\u2028\u0085\u007f`;
const unseen = /(?!\n)[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/u;

test.each([
  'json',
  'journal',
  'pretty',
])('what a server sent steers no reader of the log in format %s', async (format) => {
  const fleet = await fleetWith({ fields: () => ({ alias }) });
  const device = at(fleet, { log: { format } });
  const { status, stdout } = await runCommand(device, 'run', '--once');
  expect(status, stdout).toBe(0);
  expect(state(device).registration.alias).toBe(alias);
  expect(stdout).toContain('registered as Al pha');
  expect(stdout).not.toMatch(unseen);
});

test('nor of status and check, while programs get the value as it is', async () => {
  const fleet = await fleetWith({ fields: () => ({ alias }) });
  const device = at(fleet);
  await onboard(device);
  const path = join(device.stateDir, 'status.json');
  const stored = JSON.parse(readFileSync(path, 'utf8'));
  const lastError = { code: 'NATS_DENIED', message: `denied: ${nasty}`, at: stored.since };
  writeFileSync(path, JSON.stringify({ ...stored, lastError }));
  const shown = await runCommand(device, 'status');
  expect(shown.stdout).toMatch(/^alias +Al pha/m);
  expect(shown.stdout).not.toMatch(unseen);
  const json = await runCommand(device, 'status', '--json');
  expect(json.stdout).not.toMatch(unseen);
  expect(JSON.parse(json.stdout)).toMatchObject({ alias, lastError });
  const odd = newDevice({ provisioning: { url: 'http://127.0.0.1:1' }, stateDir: join(fleet.dir, nasty) });
  mkdirSync(join(fleet.dir, nasty), { mode: 0o755 });
  writeFileSync(join(fleet.dir, nasty, 'thesis.txt'), '');
  for (const args of [['check'], ['check', '--json'], ['run', '--once']]) {
    const { stdout, stderr } = await runCommand(odd, ...args);
    expect(stdout + stderr).toContain('holds other files');
    expect(stdout + stderr).not.toMatch(unseen);
  }
});

test.each([
  'run',
  'check',
])('%s says where the configuration is no JSON and quotes nothing of it', (command) => {
  const device = newDevice({});
  const url = 'https://user:hunter2@example.invalid';
  writeFileSync(
    device.configFile,
    `{\n  "provisioning": {"url": "${url}"},\n  "device": {"type": hunter2}\n}\n`,
  );
  const { status, stdout, stderr } = runToEnd([command, '--config', device.configFile]);
  expect(status).toBe(78);
  expect(stdout + stderr).toMatch(/invalid JSON at line 3, column 22/);
  expect(stdout + stderr).not.toContain('hunter2');
});

test('nor does a file that holds JSON of another kind', () => {
  const device = newDevice({});
  writeFileSync(device.configFile, '"hunter2"');
  const { status, stdout, stderr } = runToEnd(['run', '--config', device.configFile]);
  expect([status, /hunter2/.test(stdout + stderr)]).toEqual([78, false]);
  expect(stderr).toContain('it is not a JSON object');
});

test('files that everybody may change, and a token in the clear, are warned of in the log and by check', async () => {
  const fleet = await fleetWith({ token: 'letmein' });
  const tokenFile = join(fleet.dir, 'token');
  writeFileSync(tokenFile, 'letmein');
  const device = newDevice({ provisioning: { url: fleet.provisioningUrl, tokenFile } });
  const warnings = async () => {
    const program = launch(device, ['--once']);
    expect(await program.ended).toBe(0);
    return program.lines.filter(({ event }) => event === 'config.warning').map(({ key }) => key);
  };
  chmodSync(device.configFile, 0o666);
  chmodSync(tokenFile, 0o622);
  expect(await warnings()).toEqual(['--config', 'provisioning.tokenFile', 'provisioning.tokenFile']);
  const { status, stdout } = await runCommand(device, 'check');
  expect(status, stdout).toBe(0);
  expect(stdout).toMatch(/^warn {2}configuration .*--config is .*every user of this device may change/m);
  expect(stdout).toMatch(/^warn {2}configuration .*provisioning\.tokenFile is sent over http:/m);
  const json = JSON.parse((await runCommand(device, 'check', '--json')).stdout);
  expect(json.warnings.map(({ key }: { key: string }) => key)).toEqual(await warnings());
  chmodSync(device.configFile, 0o644);
  chmodSync(tokenFile, 0o600);
  expect(await warnings()).toEqual(['provisioning.tokenFile']);
  writeFileSync(
    device.configFile,
    JSON.stringify({
      ...JSON.parse(readFileSync(device.configFile, 'utf8')),
      provisioning: { url: fleet.provisioningUrl },
    }),
  );
  expect((await runCommand(device, 'check')).stdout).not.toMatch(/^warn/m);
});

const mayMount = spawnSync('unshare', ['-m', 'true']).status === 0 && existsSync('/etc/default');

test.runIf(mayMount)('so is the service’s own file, which the program reads itself', () => {
  const device = newDevice({});
  const checked = (mode: string) => {
    const script = `mount -t tmpfs tmpfs /etc/default && echo ONBOARDD_PROVISIONING_URL=http://127.0.0.1:1 \
      > /etc/default/onboardd && chmod ${mode} /etc/default/onboardd && exec "$@"`;
    const check = [process.execPath, programFile, 'check', '--json', '--config', device.configFile];
    return JSON.parse(
      spawnSync('unshare', ['-m', 'sh', '-c', script, 'sh', ...check], { encoding: 'utf8' }).stdout,
    );
  };
  const [open, closed] = ['0646', '0644'].map(checked);
  expect(open.checks[0]).toMatchObject({ id: 'configuration', verdict: 'pass' });
  expect(open.warnings).toEqual([
    {
      key: 'EnvironmentFile',
      message: expect.stringMatching(
        /^EnvironmentFile is "\/etc\/default\/onboardd", which every user of this device may change/,
      ),
    },
  ]);
  expect(closed.warnings).toEqual([]);
});

const fileKeys = ['caFile', 'fleetCaFile', 'tokenFile'];

test.each(fileKeys)('a pipe, a folder or a device as provisioning.%s is refused at once', async (key) => {
  const fleet = await fleetWith();
  const pipe = join(fleet.dir, 'pipe');
  expect(spawnSync('mkfifo', [pipe]).status).toBe(0);
  for (const path of [pipe, fleet.dir, '/dev/null']) {
    const device = newDevice({ provisioning: { url: 'http://127.0.0.1:1', [key]: path } });
    const { status, stderr } = runToEnd(['run', '--once', '--config', device.configFile], {}, 60_000);
    expect(stderr).toContain(
      `CONFIG_INVALID: provisioning.${key} is "${path}"; allowed: a regular file that can be read`,
    );
    expect(stderr.match(/provisioning\./g)).toHaveLength(1);
    expect(status).toBe(78);
  }
});

test('a pipe that takes the place of a file is refused at a reload, and the device goes on', async () => {
  const fleet = await fleetWith({ token: 'letmein' });
  const tokenFile = join(fleet.dir, 'token');
  writeFileSync(tokenFile, 'letmein', { mode: 0o600 });
  const device = newDevice({ provisioning: { url: fleet.provisioningUrl, tokenFile } });
  const program = launch(device);
  await program.until(({ event }) => event === 'device.registered');
  rmSync(tokenFile);
  expect(spawnSync('mkfifo', [tokenFile]).status).toBe(0);
  program.child.kill('SIGHUP');
  const line = await program.until(({ code }) => code === 'CONFIG_INVALID');
  expect(line).toMatchObject({ event: 'step.failed', step: 'reload' });
  expect(line.cause).toContain('provisioning.tokenFile');
  program.child.kill('SIGTERM');
  expect(await program.ended).toBe(0);
});

test('a CA of the fleet that is no PEM file of certificates is refused, and one that is is taken', async () => {
  const fleet = await fleetWith();
  const place = (text: string) => {
    const path = join(fleet.dir, 'fleet-ca.pem');
    writeFileSync(path, text);
    return path;
  };
  const run = async (provisioning: Record<string, unknown>) =>
    (await runCommand(at(fleet, { provisioning: { url: fleet.provisioningUrl, ...provisioning } }), 'check'))
      .stdout;
  expect(await run({ fleetCaFile: place('no certificate') })).toMatch(
    /CONFIG_INVALID: provisioning\.fleetCaFile is .*; allowed: a file with PEM certificates/,
  );
  expect(await run({ fleetCaFile: join(fleet.dir, 'absent.pem') })).toMatch(
    /CONFIG_INVALID: provisioning\.fleetCaFile is .*; allowed: a regular file that can be read/,
  );
  expect(await run({ fleetCaFingerprint: 'ab:cd' })).toMatch(
    /CONFIG_INVALID: provisioning\.fleetCaFingerprint is "ab:cd"; allowed: SHA-256/,
  );
  const { pem } = await createAuthority({ commonName: 'Fleet CA' });
  expect(await run({ fleetCaFile: place(pem) })).toMatch(/^pass {2}configuration/m);
});
