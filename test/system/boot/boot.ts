/**
 * First boots, really booted: a Debian tree with the package installed and no state, systemd as PID 1, the stand-in
 * fleet outside: `npm run test:boot`, with `-- arm64` under emulation. Needs root.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../../packaging/tools.mjs';
import { startFleet } from '../../fleet/fleet.ts';
import { type Architecture, freshTree, installIn, missingForTrees, NotHere, unavailable } from './image.ts';
import { boot, type Machine } from './machine.ts';

const architecture = (process.argv[2] ?? 'amd64') as Architecture;
const missing = missingForTrees(architecture);
if (missing.length > 0) {
  console.log(`not tested here: booting needs ${missing.join(', ')}`);
  process.exit(0);
}
const deb = readdirSync(join(root, 'dist')).find((name) => name.endsWith(`_${architecture}.deb`));
if (deb === undefined)
  throw new Error(`there is no package for ${architecture}: npm run package -- ${architecture}`);

const slow = architecture === 'arm64' ? 10 : 1;
const target = 'onboardd-registered.target';
/** Where the agents' files lie, for other services to read. */
const shared = '/var/lib/fogdata';
/** A line for each start of the service that waits for them */
const starts = '/var/lib/container-starts';
const away = '10.99.0.1';
const status = ['systemctl', 'show', '-P', 'StatusText', 'onboardd.service'];
const { tree, remove } = treeHere();
await using fleet = await startFleet({
  fields: () => ({ token: 'user secret\n', configuration: 'services: {}\n' }),
});
const port = Number(new URL(fleet.provisioningUrl).port);
const ports = [port, fleet.nats.port];
let machine: Machine | undefined;
/** Inode and time of both files, as they were first seen */
let files: string | undefined;
try {
  installIn(tree, join(root, 'dist', deb));
  configure({
    provisioning: { url: `http://${away}:${port}` },
    device: { type: 'mobile' },
    exports: { token: `${shared}/PAT.pat`, configuration: `${shared}/docker-compose.yml` },
  });
  installContainerService();
  writeFileSync(
    join(tree, 'etc/systemd/system/dependent.service'),
    `[Unit]\nAfter=${target}\n[Service]\nType=oneshot\nRemainAfterExit=yes\n` +
      `ExecStart=/bin/sh -c "date +%%s.%%N > /run/dependent"\n[Install]\nWantedBy=${target}\n`,
  );
  if (architecture === 'arm64') liftWhatEmulationLacks();
  await firstBoot();
  await again();
  await killed();
  await hung();
  await cloned();
  await misconfigured();
  console.log('all of it held');
} catch (error) {
  sayNotHere(error);
} finally {
  await machine?.powerOff();
  remove();
}

function treeHere(): ReturnType<typeof freshTree> {
  try {
    return freshTree(architecture);
  } catch (error) {
    sayNotHere(error);
    process.exit();
  }
}

/** @throws what is the program's fault */
function sayNotHere(error: unknown): void {
  if (!(error instanceof NotHere)) throw error;
  console.log(`not tested here: ${error.message}`);
  process.exitCode = unavailable;
}

/** An emulated process has no user namespaces of its own, and no ramfs to put credentials on. */
function liftWhatEmulationLacks(): void {
  const folder = join(tree, 'etc/systemd/system/onboardd.service.d');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'emulated.conf'), '[Service]\nPrivateUsers=no\nLoadCredential=\n');
  console.log('emulated: PrivateUsers= and LoadCredential= are lifted');
}

/**
 * As on the fleet's devices: a path unit that watches both files, and a service that runs on once it was started. What it
 * saw when it started is kept over reboots.
 */
function installContainerService(): void {
  const units = join(tree, 'etc/systemd/system');
  const names = ['PAT.pat', 'docker-compose.yml'];
  const conditions = names.map((name) => `ConditionPathExists=${shared}/${name}`);
  const paths = names.map((name) => `PathModified=${shared}/${name}`);
  const look = `(cat ${names.map((name) => `${shared}/${name}`).join(' ')} | md5sum; echo) >> ${starts}`;
  writeFileSync(
    join(units, 'container.service'),
    `[Unit]\n${conditions.join('\n')}\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c "${look}"\n`,
  );
  writeFileSync(
    join(units, 'container.path'),
    `[Path]\n${paths.join('\n')}\n[Install]\nWantedBy=multi-user.target\n`,
  );
  const dropIn = join(units, 'onboardd.service.d');
  mkdirSync(dropIn, { recursive: true });
  writeFileSync(join(dropIn, 'shared.conf'), `[Service]\nReadWritePaths=${shared}\n`);
  writeFileSync(join(tree, 'etc/tmpfiles.d/shared.conf'), `d ${shared} 0750 onboardd onboardd\n`);
}

/** The service started once in all, with both files whole, and neither was touched since. */
async function containerServiceStartedOnce(): Promise<void> {
  const here = required(machine);
  const seen = createHash('md5').update('user secret\nservices: {}\n').digest('hex');
  await here.until(['cat', starts], (text) => text.trim() === `${seen}  -`, 10_000 * slow);
  const inodes = await here.run('stat', '-c', '%i %Y', `${shared}/PAT.pat`, `${shared}/docker-compose.yml`);
  files ??= inodes;
  assert.equal(inodes, files);
}

async function firstBoot(): Promise<void> {
  const started = Date.now();
  machine = await boot(tree);
  await machine.run('systemctl', 'enable', '-q', 'dependent.service');
  await machine.run('systemctl', 'enable', '-q', '--now', 'container.path');
  tell('booted without a network', started);
  const activeState = ['systemctl', 'show', '-P', 'ActiveState', 'onboardd.service'];
  await machine.until(activeState, (text) => text === 'active', 30_000 * slow);
  assert.notEqual(await active(target), 'active');
  await machine.until(
    status,
    (text) => /PROVISIONING_UNREACHABLE.*next attempt at/.test(text),
    30_000 * slow,
  );
  tell(`it says: ${await machine.run(...status)}`, started);
  const arrived = Date.now();
  await machine.connect(ports, away);
  await machine.until(['systemctl', 'is-active', target], (text) => text === 'active', 60_000 * slow);
  tell('the network arrived; registered, the target is reached', arrived);
  await machine.until(
    ['systemctl', 'is-active', 'dependent.service'],
    (text) => text === 'active',
    20_000 * slow,
  );
  assert.equal(fleet.manager.accepted.size, 1);
  await containerServiceStartedOnce();
  tell('token and compose file are there: the service that waits for both was started once', started);
  assert.match(await machine.run('onboardd', 'status'), /registered/);
  assert.match(await machine.run(...status), /^registered/);
  const [log] = await Promise.all([machine.run('journalctl', '-u', 'onboardd', '-o', 'json')]);
  assert.match(log, /"PRIORITY":"4"/);
  const pid = await machine.property('onboardd.service', 'MainPID');
  const resident = /VmRSS:\s+(\d+)/.exec(await machine.run('cat', `/proc/${pid}/status`))?.[1];
  console.log(`  memory: ${Math.round(Number(resident) / 1024)} MiB resident`);
}

async function again(): Promise<void> {
  await machine?.powerOff();
  const before = [fleet.provisioning.requests.length, fleet.manager.requests.length];
  const started = Date.now();
  machine = await boot(tree);
  await machine.until(
    ['systemctl', 'is-active', 'dependent.service'],
    (text) => text === 'active',
    60_000 * slow,
  );
  tell('booted again without a network: target and dependent service are there', started);
  await containerServiceStartedOnce();
  assert.equal(await active('container.service'), 'inactive');
  assert.deepEqual([fleet.provisioning.requests.length, fleet.manager.requests.length], before);
  const since = (unit: string) => required(machine).property(unit, 'ActiveEnterTimestampMonotonic');
  const [service, reached, dependent] = await Promise.all(
    ['onboardd.service', target, 'dependent.service'].map(async (unit) => Number(await since(unit))),
  );
  assert.ok(
    required(service) < required(reached) && required(reached) <= required(dependent),
    'out of order',
  );
}

async function killed(): Promise<void> {
  const here = required(machine);
  const started = Date.now();
  const pid = await here.property('onboardd.service', 'MainPID');
  await here.run('kill', '-KILL', pid);
  const fresh = (text: string) => text !== '0' && text !== pid;
  await here.until(['systemctl', 'show', '-P', 'MainPID', 'onboardd.service'], fresh, 30_000 * slow);
  await here.until(status, (text) => text.startsWith('registered'), 30_000 * slow);
  tell('killed with SIGKILL: started again', started);
  await containerServiceStartedOnce();
}

/** A stopped process feeds no watchdog, as one whose event loop hangs. */
async function hung(): Promise<void> {
  const here = required(machine);
  await here.run('mkdir', '-p', '/run/systemd/system/onboardd.service.d');
  await here.run(
    'sh',
    '-c',
    'printf "[Service]\\nWatchdogSec=3\\n" > /run/systemd/system/onboardd.service.d/w.conf',
  );
  await here.run('systemctl', 'daemon-reload');
  await here.run('systemctl', 'restart', 'onboardd.service');
  await here.until(status, (text) => text.startsWith('registered'), 30_000 * slow);
  const pid = await here.property('onboardd.service', 'MainPID');
  const started = Date.now();
  // It is fed: three intervals later it is the same process.
  await here.until(['sh', '-c', `ps -o etimes= -p ${pid}`], (text) => Number(text) >= 9, 60_000 * slow);
  assert.equal(await here.property('onboardd.service', 'MainPID'), pid);
  await here.run('kill', '-STOP', pid);
  const fresh = (text: string) => text !== '0' && text !== pid;
  await here.until(['systemctl', 'show', '-P', 'MainPID', 'onboardd.service'], fresh, 60_000 * slow);
  tell('hung: fed while it ran, killed by the watchdog and started again', started);
}

/** A golden image with an identity on it: the same disk under another machine-id. */
async function cloned(): Promise<void> {
  await required(machine).powerOff();
  const started = Date.now();
  const stateDir = join(tree, 'var/lib/onboardd');
  const identity = () =>
    ['identity.key', 'identity.crt', 'device_id.txt'].map((name) =>
      readFileSync(join(stateDir, name), 'utf8'),
    );
  const before = identity();
  const asked = [fleet.provisioning.requests.length, fleet.manager.requests.length];
  writeFileSync(join(tree, 'etc/machine-id'), `${'c'.repeat(32)}\n`);
  machine = await boot(tree);
  await machine.until(status, (text) => text.includes('STATE_CLONED'), 30_000 * slow);
  assert.notEqual(await active(target), 'active');
  assert.deepEqual(identity(), before);
  assert.deepEqual([fleet.provisioning.requests.length, fleet.manager.requests.length], asked);
  await machine.run('systemctl', 'stop', 'onboardd.service');
  await machine.run('onboardd', 'reset', '--yes');
  await machine.connect(ports, away);
  await machine.run('systemctl', 'start', 'onboardd.service');
  await machine.until(['systemctl', 'is-active', target], (text) => text === 'active', 60_000 * slow);
  assert.equal(fleet.manager.accepted.size, 2);
  tell('cloned with its identity: STATE_CLONED, nothing sent; reset, and it has one of its own', started);
  const log = await machine.run('journalctl', '-u', 'onboardd', '-o', 'cat');
  const took = [...log.matchAll(/"event":"device.registered".*?"durationMs":(\d+)/g)].at(-1)?.[1];
  console.log(`  a new identity, from the machine's start to registered: ${took} ms`);
}

async function misconfigured(): Promise<void> {
  const here = required(machine);
  configure({ provisioning: { url: 'nonsense' } });
  const started = Date.now();
  await here.run('systemctl', 'restart', 'onboardd.service').catch(() => undefined);
  await here.until(
    ['systemctl', 'is-failed', 'onboardd.service'],
    (text) => text === 'failed',
    30_000 * slow,
  );
  assert.equal(await here.property('onboardd.service', 'ExecMainStatus'), '78');
  const restarts = await here.property('onboardd.service', 'NRestarts');
  // Longer than RestartSec: it would have been started again by now.
  await here.run('sleep', '7');
  assert.equal(await here.property('onboardd.service', 'NRestarts'), restarts);
  assert.equal(await active('onboardd.service'), 'failed');
  tell('a wrong configuration: ends with 78 and is not started again', started);
}

async function active(unit: string): Promise<string> {
  return await required(machine).property(unit, 'ActiveState');
}

function configure(config: unknown): void {
  const file = join(tree, 'etc/onboardd/config.json');
  assert.ok(existsSync(file) && JSON.parse(readFileSync(file, 'utf8')));
  writeFileSync(file, JSON.stringify(config));
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('nothing there');
  return value;
}

function tell(what: string, since: number): void {
  console.log(`${((Date.now() - since) / 1000).toFixed(1).padStart(6)} s  ${what}`);
}
