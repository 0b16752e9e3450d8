/**
 * First boots, really booted: a Debian tree with the package installed and no state, systemd as PID 1, the stand-in
 * fleet outside: `npm run test:boot` on Debian 12, with `-- debian13` on that, with `-- arm64` under emulation, with
 * `-- arm64-vm` on a whole emulated machine with a kernel of its own. Needs root.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createAuthority } from '../../../fleet/ca.ts';
import { startFleet } from '../../../fleet/fleet.ts';
import { missingAfterInstalling, root } from '../../../packaging/tools.mjs';
import { newerVersion } from '../package/life.ts';
import {
  type Architecture,
  freshTree,
  installIn,
  inTree,
  missingForTrees,
  type Suite,
  sayNotHere,
} from './image.ts';
import { boot, type Machine } from './machine.ts';
import { abUpdate, readOnlyRoot } from './roots.ts';
import { bootVirtual, diskOf, hostAddress, programsForVirtualMachines } from './virtualMachine.ts';

const [asked = 'amd64'] = process.argv.slice(2);
const known = ['amd64', 'debian13', 'arm64', 'arm64-vm'];
if (!known.includes(asked)) {
  console.error(`"${asked}" is unknown; allowed: ${known.join(', ')}`);
  process.exit(64);
}
const isDebian13 = asked === 'debian13';
const isVirtual = asked === 'arm64-vm';
const architecture: Architecture = asked.startsWith('arm64') ? 'arm64' : 'amd64';
const suite: Suite = isDebian13 ? 'trixie' : 'bookworm';
const missing = [
  ...missingForTrees(architecture),
  ...missingAfterInstalling(isVirtual ? programsForVirtualMachines : []),
];
if (missing.length > 0) {
  console.log(`not tested here: booting needs ${missing.join(', ')}`);
  process.exit(0);
}
const built = (name: string) => statSync(join(root, 'dist', name)).mtimeMs;
const [deb] = readdirSync(join(root, 'dist'))
  .filter((name) => name.startsWith('onboardd_') && name.endsWith(`_${architecture}.deb`))
  .sort((one, other) => built(other) - built(one));
if (deb === undefined)
  throw new Error(`there is no package for ${architecture}: npm run package -- ${architecture}`);

/** How many times longer everything may take */
const slow = architecture === 'arm64' ? 10 : 1;
const target = 'onboardd-registered.target';
/** Where the agents' files lie, for other services to read. */
const shared = '/var/lib/fogdata';
/** A line for each start of the service that waits for them */
const starts = '/var/lib/container-starts';
/** Of the fleet, as the device sees it */
const away = isVirtual ? hostAddress : '10.99.0.1';
const status = ['systemctl', 'show', '-P', 'StatusText', 'onboardd.service'];
const { tree, remove } = treeHere();
const authority = await createAuthority();
await using fleet = await startFleet({
  authority,
  nats: { serverCertificate: await authority.issueServer({ hosts: ['localhost', '127.0.0.1', away] }) },
  fields: () => ({ token: 'user secret\n', configuration: 'services: {}\n' }),
});
fleet.provisioning.natsUrl = `tls://${away}:${fleet.nats.port}`;
const port = Number(new URL(fleet.provisioningUrl).port);
const ports = [port, fleet.nats.port];
let machine: Machine | undefined;
/** Of the virtual machine, once it was made */
let disk: string | undefined;
/** Inode and time of both files, as they were first seen */
let files: string | undefined;
try {
  assert.match(installIn(tree, join(root, 'dist', deb)), /onboardd is not configured; write this line/);
  installContainerService();
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
  if (architecture === 'arm64' && !isVirtual) liftWhatEmulationLacks();
  const newer = mkdtempSync(join(tmpdir(), 'upgrade-'));
  try {
    renameSync(newerVersion(join(root, 'dist', deb), newer), join(tree, 'root/newer.deb'));
  } finally {
    rmSync(newer, { recursive: true, force: true });
  }
  await unconfigured();
  await firstBoot();
  await reloaded();
  await withoutNotify();
  await upgraded();
  await again();
  await told();
  await killed();
  await hung();
  await confined();
  await cloned();
  await credential();
  await misconfigured();
  await removed();
  await machine?.powerOff();
  machine = undefined;
  if (!isVirtual) await otherRoots();
  console.log('all of it held');
} catch (error) {
  sayNotHere(error);
} finally {
  await machine?.powerOff();
  remove();
}

function treeHere(): ReturnType<typeof freshTree> {
  try {
    return freshTree(architecture, suite);
  } catch (error) {
    sayNotHere(error);
    process.exit();
  }
}

async function start(): Promise<Machine> {
  if (!isVirtual) return await boot(tree);
  disk ??= diskOf(tree, join(dirname(tree), 'disk'));
  return await bootVirtual(disk);
}

/**
 * An emulated process has no user or network namespaces of its own; nor credentials, without which systemd-tmpfiles does not
 * start. The virtual machine has all of it.
 */
function liftWhatEmulationLacks(): void {
  const lifted = {
    'onboardd.service': 'PrivateUsers=no',
    'onboardd-renewed.service': 'PrivateNetwork=no',
    'onboardd-unregistered.service': 'PrivateNetwork=no',
  };
  for (const [unit, line] of Object.entries(lifted)) {
    const folder = join(tree, `etc/systemd/system/${unit}.d`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'emulated.conf'), `[Service]\n${line}\n`);
  }
  inTree(tree, 'install', '-d', '-m', '750', '-o', 'onboardd', '-g', 'onboardd', shared);
  console.log(
    `emulated: PrivateUsers= and PrivateNetwork= are lifted, and ${shared} is there before the boot`,
  );
}

/** Nobody has said where the fleet is: nothing runs, nothing failed, and the line that was asked for starts it. */
async function unconfigured(): Promise<void> {
  const started = Date.now();
  machine = await start();
  const dependents = ['dependent.service', 'bound.service', 'part.service', 'told.service'];
  await machine.run('systemctl', 'enable', '-q', ...dependents);
  await isHealthy();
  assert.equal(await active('onboardd.service'), 'inactive');
  assert.match(
    await machine.run('journalctl', '-u', 'onboardd', '-o', 'cat'),
    /is not configured; write this line/,
  );
  const said = await machine.run('dpkg', '-i', '/root/onboardd.deb');
  assert.match(said, /is not configured; write this line/);
  assert.doesNotMatch(said, /Could not execute/);
  await isHealthy();
  tell('not configured: booted and installed again, nothing runs and nothing failed', started);
}

async function isHealthy(): Promise<void> {
  const failed = await required(machine).run('systemctl', 'list-units', '--failed', '--no-legend', '--plain');
  assert.doesNotMatch(failed, /onboardd/);
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
  const here = required(machine);
  await here.run('systemctl', 'enable', '-q', '--now', 'container.path');
  await configure('05-exports', {
    exports: { token: `${shared}/PAT.pat`, configuration: `${shared}/docker-compose.yml` },
  });
  const line = `ONBOARDD_PROVISIONING_URL=http://${away}:${port}`;
  await here.run('sh', '-c', `echo ${line} >> /etc/default/onboardd`);
  const activeState = ['systemctl', 'show', '-P', 'ActiveState', 'onboardd.service'];
  await here.until(activeState, (text) => text === 'active', 30_000 * slow);
  tell('the line was written: started by itself, without a network', started);
  assert.notEqual(await active(target), 'active');
  await here.until(status, (text) => /PROVISIONING_UNREACHABLE.*next attempt at/.test(text), 30_000 * slow);
  tell(`it says: ${await here.run(...status)}`, started);
  const arrived = Date.now();
  await here.connect(ports, away);
  await here.until(['systemctl', 'is-active', target], (text) => text === 'active', 60_000 * slow);
  tell('the network arrived; registered, the target is reached', arrived);
  await here.until(
    ['systemctl', 'is-active', 'dependent.service'],
    (text) => text === 'active',
    20_000 * slow,
  );
  assert.equal(fleet.manager.accepted.size, 1);
  await containerServiceStartedOnce();
  tell('token and compose file are there: the service that waits for both was started once', started);
  assert.match(await here.run('onboardd', 'status'), /registered/);
  assert.match(await here.run(...status), /^registered/);
  const [log] = await Promise.all([here.run('journalctl', '-u', 'onboardd', '-o', 'json')]);
  assert.match(log, /"PRIORITY":"4"/);
  const pid = await here.property('onboardd.service', 'MainPID');
  const resident = /VmRSS:\s+(\d+)/.exec(await here.run('cat', `/proc/${pid}/status`))?.[1];
  console.log(`  memory: ${Math.round(Number(resident) / 1024)} MiB resident`);
}

/** What was laid over the configuration is read; `systemctl reload` returns once it is, where systemd can wait. */
async function reloaded(): Promise<void> {
  const here = required(machine);
  const pid = await here.property('onboardd.service', 'MainPID');
  const started = Date.now();
  await configure('10-alias', { device: { alias: 'one-{id}' } });
  await here.run('systemctl', 'reload', 'onboardd.service');
  const log = ['journalctl', '-u', 'onboardd', '-o', 'cat'];
  const isRead = (text: string) => /configuration reloaded: .*device\.alias/.test(text);
  // journald may still have it in its socket.
  await here.run('journalctl', '--sync');
  if (isDebian13) assert.ok(isRead(await here.run(...log)), 'the reload returned before it was done');
  await here.until(log, isRead, 30_000 * slow);
  assert.equal(await here.property('onboardd.service', 'MainPID'), pid);
  tell('reloaded: config.d was read, the process stays', started);
}

/** systemd-notify(1) that cannot be started keeps no daemon from being ready, nor from feeding its watchdog. */
async function withoutNotify(): Promise<void> {
  const here = required(machine);
  assert.equal(await here.property('onboardd.service', 'NotifyAccess'), isDebian13 ? 'main' : 'all');
  assert.equal(await here.property('onboardd.service', 'Type'), isDebian13 ? 'notify-reload' : 'notify');
  const started = Date.now();
  await here.run('chmod', '644', '/usr/bin/systemd-notify');
  await here.run('systemctl', 'restart', 'onboardd.service');
  await here.until(status, (text) => text.startsWith('registered'), 30_000 * slow);
  tell('restarted without systemd-notify: ready, and its state is told', started);
  const journal = (await here.run('journalctl', '-b', '-o', 'cat', '--no-pager')).split('\n');
  const complaint = /Unknown key|inherited credential|supervisor\.unreachable/;
  assert.deepEqual(
    journal.filter((line) => complaint.test(line)),
    [],
  );
  // Debian 13 stays so to its end: no child process is needed there.
  if (!isDebian13) await here.run('chmod', '755', '/usr/bin/systemd-notify');
}

async function upgraded(): Promise<void> {
  const here = required(machine);
  const before = [fleet.provisioning.requests.length, fleet.manager.requests.length];
  await favoured();
  const limitMs = await longestDownMs();
  for (const [file, what] of [
    ['newer', 'upgraded'],
    ['onboardd', 'downgraded'],
  ] as const) {
    const started = Date.now();
    const pid = await here.property('onboardd.service', 'MainPID');
    await here.run('dpkg', '-i', `/root/${file}.deb`);
    await here.until(status, (text) => text.startsWith('registered'), 30_000 * slow);
    assert.notEqual(await here.property('onboardd.service', 'MainPID'), pid);
    const downMs = await lastDownMs();
    tell(`${what} while it runs: down for ${downMs.toFixed(0)} ms, nothing is asked again`, started);
    assert.ok(downMs > 0 && downMs <= limitMs, `down for ${downMs} ms, more than ${limitMs}`);
  }
  assert.deepEqual([fleet.provisioning.requests.length, fleet.manager.requests.length], before);
  assert.equal(await active(target), 'active');
  await isHealthy();
}

/** How long the service was down when it was last restarted */
async function lastDownMs(): Promise<number> {
  const [left = 0, entered = 0] = await Promise.all(
    ['ActiveExitTimestampMonotonic', 'ActiveEnterTimestampMonotonic'].map(async (name) =>
      Number(await required(machine).property('onboardd.service', name)),
    ),
  );
  return (entered - left) / 1000;
}

/**
 * A second. On an emulated machine seconds say nothing of a device's, so an upgrade is held to what a mere restart takes
 * there: three times as long, since dpkg has just written the program, and its triggers run beside the start. A service
 * that was stopped before the new program is unpacked would be down for much longer.
 */
async function longestDownMs(): Promise<number> {
  if (architecture !== 'arm64') return 1000;
  const here = required(machine);
  await here.run('systemctl', 'restart', 'onboardd.service');
  await here.until(status, (text) => text.startsWith('registered'), 30_000 * slow);
  const restartMs = await lastDownMs();
  tellOnly(`a restart, for comparison: down for ${restartMs.toFixed(0)} ms`);
  return 3 * restartMs;
}

/**
 * systemd, what it starts from now on, and the daemon have the processor before everything else here: what is measured is
 * the program's, as on a device that has nothing else to do, however much runs beside this suite.
 */
async function favoured(): Promise<void> {
  if (architecture === 'arm64') return;
  const here = required(machine);
  const pids = ['1', await here.property('onboardd.service', 'MainPID')];
  try {
    for (const pid of pids) await here.run('chrt', '--all-tasks', '--rr', '--pid', '1', pid);
  } catch {
    console.log('  real-time scheduling is not permitted here: downtime depends on what else runs');
  }
}

async function again(): Promise<void> {
  await machine?.powerOff();
  const before = [fleet.provisioning.requests.length, fleet.manager.requests.length];
  const started = Date.now();
  machine = await start();
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
  await containerServiceStartedOnce();
  const stopped = Date.now();
  const second = await here.property('onboardd.service', 'MainPID');
  await here.run('kill', '-TERM', second);
  const newer = (text: string) => text !== '0' && text !== second;
  await here.until(['systemctl', 'show', '-P', 'MainPID', 'onboardd.service'], newer, 30_000 * slow);
  tell('stopped by SIGTERM from outside: started again', stopped);
}

/** A stopped process feeds no watchdog, as one whose event loop hangs. */
async function hung(): Promise<void> {
  const here = required(machine);
  await put('/run/systemd/system/onboardd.service.d/w.conf', '[Service]\nWatchdogSec=3\n');
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

async function identity(): Promise<string> {
  const files = 'identity.key identity.crt device_id.txt';
  return await required(machine).run('sh', '-c', `cd /var/lib/onboardd && sha256sum ${files}`);
}

/** A golden image with an identity on it: the same disk under another machine-id. */
async function cloned(): Promise<void> {
  const started = Date.now();
  const before = await identity();
  const asked = [fleet.provisioning.requests.length, fleet.manager.requests.length];
  await put('/etc/machine-id', `${'c'.repeat(32)}\n`);
  await required(machine).powerOff();
  machine = await start();
  await machine.until(status, (text) => text.includes('STATE_CLONED'), 30_000 * slow);
  assert.notEqual(await active(target), 'active');
  assert.equal(await identity(), before);
  assert.deepEqual([fleet.provisioning.requests.length, fleet.manager.requests.length], asked);
  tell('cloned with its identity: STATE_CLONED, nothing sent', started);
  await golden(await identity());
}

/** A device is made a golden image by the lines of docs/install.md, and what starts from it has an identity of its own. */
async function golden(before: string): Promise<void> {
  const here = required(machine);
  const page = readFileSync(join(root, 'docs/install.md'), 'utf8');
  const [, lines = ''] = /^```sh booted\n([\s\S]*?)^```$/m.exec(page) ?? [];
  assert.match(lines, /onboardd reset --yes/);
  const started = Date.now();
  await put('/root/prepare.sh', lines);
  await here.run('sh', '-eu', '/root/prepare.sh');
  await here.powerOff();
  machine = await start();
  await machine.connect(ports, away);
  await machine.until(['systemctl', 'is-active', target], (text) => text === 'active', 60_000 * slow);
  assert.equal(fleet.manager.accepted.size, 2);
  assert.notEqual(await identity(), before);
  tell('made a golden image by the lines of the page, and booted: it has an identity of its own', started);
  const log = await machine.run('onboardd', 'status', '--json');
  assert.match(log, /"state": ?"registered"/);
}

/** What the unit forbids is forbidden here, and was not before: a kernel, or an emulator, may ignore it without a word. */
async function confined(): Promise<void> {
  if (architecture === 'arm64' && !isVirtual) return tellOnly('seccomp: no proof under user-mode emulation');
  const here = required(machine);
  await here.until(
    ['systemctl', 'is-active', 'onboardd.service'],
    (text) => text === 'active',
    30_000 * slow,
  );
  const started = Date.now();
  const pid = await here.property('onboardd.service', 'MainPID');
  const facts = await here.run('cat', `/proc/${pid}/status`);
  for (const fact of [/^Seccomp:\t2$/m, /^NoNewPrivs:\t1$/m, /^CapEff:\t0+$/m, /^CapBnd:\t0+$/m])
    assert.match(facts, fact);
  const filters = Number(/^Seccomp_filters:\t(\d+)$/m.exec(facts)?.[1]);
  assert.ok(filters >= 10, `${filters} filters`);
  const attempts = ['unshare --user true', 'ionice -c 3 true', 'chrt --idle 0 true'];
  await put('/root/probe.sh', attempts.map((line) => `${line} && echo may || echo may not\n`).join(''));
  await here.run('install', '-m', '755', '/root/probe.sh', '/usr/bin/probe');
  const outside = await here.run('setpriv', '--reuid=onboardd', '--clear-groups', 'sh', '/usr/bin/probe');
  assert.equal(outside, 'may\nmay\nmay', 'the probe proves nothing');
  // The unit itself, with another program in it.
  const left = '/^(Type|NotifyAccess|Exec|Restart|Watchdog|RuntimeDirectory|StateDirectory)/d';
  const unit = '/run/systemd/system/probe.service';
  await here.run('sh', '-c', `sed -E '${left}' /usr/lib/systemd/system/onboardd.service > ${unit}`);
  await put(`${unit}.d/program.conf`, '[Service]\nType=oneshot\nExecStart=/bin/sh /usr/bin/probe\n');
  await here.run('systemctl', 'daemon-reload');
  await here.run('systemctl', 'start', 'probe.service');
  const inside = await here.run('journalctl', '-b', '-u', 'probe', '-o', 'cat', '_COMM=sh');
  assert.equal(inside, 'may not\nmay not\nmay not');
  tell(`confined: ${filters} seccomp filters, and the calls that they forbid are refused`, started);
}

/** The server wants a bearer token, which only the service manager's credential has. */
async function credential(): Promise<void> {
  if (architecture === 'arm64' && !isVirtual) return tellOnly('credentials: none under user-mode emulation');
  const here = required(machine);
  const started = Date.now();
  const token = 'token-of-the-provisioning-server';
  fleet.provisioning.token = token;
  await here.run('systemctl', 'stop', 'onboardd.service');
  await here.run('onboardd', 'reset', '--yes');
  await here.until(['systemctl', 'is-active', target], (text) => text === 'inactive', 20_000 * slow);
  await here.run('systemctl', 'start', 'onboardd.service');
  await here.until(status, (text) => text.includes('PROVISIONING_REJECTED'), 60_000 * slow);
  const file = isDebian13 ? '/etc/credstore/provisioning.token' : '/etc/onboardd/token';
  await put(file, token);
  await here.run('chmod', '600', file);
  if (!isDebian13)
    await put(
      '/etc/systemd/system/onboardd.service.d/credential.conf',
      `[Service]\nLoadCredential=provisioning.token:${file}\n`,
    );
  await here.run('systemctl', 'daemon-reload');
  await here.run('systemctl', 'restart', 'onboardd.service');
  await here.until(['systemctl', 'is-active', target], (text) => text === 'active', 60_000 * slow);
  assert.equal(fleet.manager.accepted.size, 3);
  assert.ok(!(await here.run('journalctl', '-b', '-o', 'json', '--no-pager')).includes(token));
  // The administrator's, and not the package's to remove.
  await here.run('rm', '-f', file, '/etc/systemd/system/onboardd.service.d/credential.conf');
  await here.run('systemctl', 'daemon-reload');
  tell('a credential: refused without the token, registered with it, which no log shows', started);
}

async function misconfigured(): Promise<void> {
  const here = required(machine);
  await configure('20-nonsense', { nonsense: 1 });
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
  const corrected = Date.now();
  await configure('20-nonsense', {});
  await here.until(status, (text) => text.startsWith('registered'), 30_000 * slow);
  tell('the file is corrected: started by itself', corrected);
  await writtenInTwoSteps();
}

/** systemd misses a change while it starts the service for the one before. */
async function writtenInTwoSteps(): Promise<void> {
  const here = required(machine);
  const service = (state: string) =>
    here.until(
      ['systemctl', 'show', '-P', 'ActiveState', 'onboardd.service'],
      (text) => text === state,
      30_000 * slow,
    );
  // At one of these moments it has read the first, and not ended yet.
  const moments = [50, 100, 150, 200, 250].map((ms) => ms * slow);
  for (const gapMs of moments) {
    await configure('20-nonsense', { nonsense: 1 });
    await here.run('systemctl', 'restart', 'onboardd.service').catch(() => undefined);
    await service('failed');
    const rewritten = Date.now();
    await configure('20-nonsense', { nonsense: 2 });
    await new Promise((resolve) => setTimeout(resolve, gapMs));
    await configure('20-nonsense', {});
    await service('active');
    tell(`written in two steps, ${gapMs} ms apart: started by itself`, rewritten);
  }
}

async function removed(): Promise<void> {
  const here = required(machine);
  const started = Date.now();
  await here.run('dpkg', '--remove', 'onboardd');
  for (const unit of ['onboardd.service', 'onboardd.path', target, 'onboardd-registered.path'])
    assert.equal(await active(unit), 'inactive', unit);
  await here.run('sh', '-c', '! [ -e /run/onboardd ]');
  await isHealthy();
  await here.run('dpkg', '--purge', 'onboardd');
  await here.run('sh', '-c', '! [ -e /var/lib/onboardd ] && ! [ -e /etc/onboardd ]');
  tell('removed and purged: nothing runs, target included', started);
}

/** Two root file systems with one state, and one that is read-only: made of directories, which a virtual machine has not. */
async function otherRoots(): Promise<void> {
  // No user namespaces and no systemd-tmpfiles there; what is lifted for one tree would have to be for each.
  if (architecture === 'arm64') return tellOnly('A/B update and read-only root: not under emulation');
  const subject = { architecture, suite, deb: join(root, 'dist', String(deb)), slow, tell };
  await abUpdate(subject);
  await readOnlyRoot(subject);
}

async function active(unit: string): Promise<string> {
  return await required(machine).property(unit, 'ActiveState');
}

/** A file of config.d. */
async function configure(name: string, config: unknown): Promise<void> {
  await put(`/etc/onboardd/config.d/${name}.json`, JSON.stringify(config));
}

/** Writes a file inside, as an editor does that saves it. */
async function put(path: string, text: string): Promise<void> {
  const encoded = Buffer.from(text).toString('base64');
  await required(machine).run('sh', '-c', `mkdir -p "\${0%/*}" && echo ${encoded} | base64 -d > "$0"`, path);
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('nothing there');
  return value;
}

function tellOnly(what: string): void {
  console.log(`          ${what}`);
}

function tell(what: string, since: number): void {
  console.log(`${((Date.now() - since) / 1000).toFixed(1).padStart(6)} s  ${what}`);
}
