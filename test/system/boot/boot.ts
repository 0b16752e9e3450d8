/**
 * First boots, really booted: a Debian tree with the package installed and no state, systemd as PID 1, the stand-in
 * fleet outside: `npm run test:boot`, with `-- arm64` under emulation. Needs root.
 */
import assert from 'node:assert/strict';
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
const away = '10.99.0.1';
const status = ['systemctl', 'show', '-P', 'StatusText', 'onboardd.service'];
const { tree, remove } = treeHere();
await using fleet = await startFleet();
const port = Number(new URL(fleet.provisioningUrl).port);
const ports = [port, fleet.nats.port];
let machine: Machine | undefined;
try {
  installIn(tree, join(root, 'dist', deb));
  configure({ provisioning: { url: `http://${away}:${port}` }, device: { type: 'mobile' } });
  writeFileSync(
    join(tree, 'etc/systemd/system/dependent.service'),
    `[Unit]\nAfter=${target}\n[Service]\nType=oneshot\nRemainAfterExit=yes\n` +
      `ExecStart=/bin/sh -c "date +%%s.%%N > /run/dependent"\n[Install]\nWantedBy=${target}\n`,
  );
  const unit = (name: string, text: string) => writeFileSync(join(tree, 'etc/systemd/system', name), text);
  unit(
    'bound.service',
    `[Unit]\nAfter=${target}\nBindsTo=${target}\n[Service]\nType=oneshot\nRemainAfterExit=yes\n` +
      `ExecStart=/bin/true\nExecStop=/bin/sh -c "echo stopped >> /run/bound"\n[Install]\nWantedBy=${target}\n`,
  );
  unit(
    'part.service',
    '[Unit]\nPartOf=onboardd-renewed.target\n[Service]\nExecStart=/bin/sleep infinity\n' +
      '[Install]\nWantedBy=multi-user.target\n',
  );
  unit(
    'told.service',
    '[Service]\nType=oneshot\nExecStart=/bin/sh -c "echo told >> /run/told"\n' +
      '[Install]\nWantedBy=onboardd-renewed.target\n',
  );
  if (architecture === 'arm64') liftWhatEmulationLacks();
  await firstBoot();
  await again();
  await told();
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

async function firstBoot(): Promise<void> {
  const started = Date.now();
  machine = await boot(tree);
  const dependents = ['dependent.service', 'bound.service', 'part.service', 'told.service'];
  await machine.run('systemctl', 'enable', '-q', ...dependents);
  tell('booted without a network', started);
  const activeState = ['systemctl', 'show', '-P', 'ActiveState', 'onboardd.service'];
  await machine.until(activeState, (text) => text === 'active', 30_000 * slow);
  assert.notEqual(await active(target), 'active');
  await machine.until(status, (text) => /PROVISIONING_UNREACHABLE.*next try at/.test(text), 30_000 * slow);
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

/** What the daemon leaves in its runtime directory reaches the units that ask for it, once for each time. */
async function told(): Promise<void> {
  const here = required(machine);
  const started = Date.now();
  const raise = (flag: string) =>
    // As the daemon does.
    here.run(
      ...['setpriv', '--reuid=onboardd', '--regid=onboardd', '--clear-groups'],
      ...['sh', '-c', `: > /run/onboardd/${flag}`],
    );
  const lines = (file: string, count: number) =>
    here.until(['sh', '-c', `cat ${file} | wc -l`], (text) => text === `${count}`, 20_000 * slow);
  const pid = await here.property('part.service', 'MainPID');
  const isFresh = (before: string) => (text: string) => text !== '0' && text !== before;
  for (const times of [1, 2]) {
    const before = await here.property('part.service', 'MainPID');
    await raise('renewed');
    await lines('/run/told', times);
    await here.until(['systemctl', 'show', '-P', 'MainPID', 'part.service'], isFresh(before), 20_000 * slow);
  }
  assert.notEqual(pid, await here.property('part.service', 'MainPID'));
  tell('renewed, twice: units are told, and restarted', started);
  const unbound = Date.now();
  await here.run('systemctl', 'stop', 'onboardd.service');
  assert.equal(await active('bound.service'), 'active');
  await raise('unregistered');
  await lines('/run/bound', 1);
  await here.until(['systemctl', 'is-active', target], (text) => text === 'inactive', 20_000 * slow);
  await here.run('systemctl', 'start', 'onboardd.service');
  await here.until(['systemctl', 'is-active', 'bound.service'], (text) => text === 'active', 60_000 * slow);
  await lines('/run/bound', 1);
  tell('not registered any more: what is bound to it is stopped, and started once it is registered', unbound);
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
