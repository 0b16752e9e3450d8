/** The formats for other systems: an rpm in a tree, and a system extension on a booted Debian 13. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { startFleet } from '../../../fleet/fleet.ts';
import { root } from '../../../packaging/tools.mjs';
import { type Architecture, freshTree, inTree, NotHere } from '../boot/image.ts';
import { boot, type Machine } from '../boot/machine.ts';
import { blocks } from './guide.ts';

type Tell = (what: string) => void;
const machineOf = { amd64: 'x86_64', arm64: 'aarch64' } as const;

/** Makes a package of the tree that the last build left. @param version if not its own */
function make(format: 'rpm' | 'sysext', architecture: Architecture, version?: string): string {
  const script = `
    const { formats } = await import('./packaging/formats.ts');
    console.log(formats.${format}.pack('${architecture}', '${join(root, 'dist', architecture, 'tree')}'));`;
  const env = { ...process.env, COMPRESSION: 'fast', ...(version && { PACKAGE_VERSION: version }) };
  const args = ['--import', 'tsx', '--input-type=module', '-e', script];
  return execFileSync(process.execPath, args, {
    cwd: root,
    encoding: 'utf8',
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
  }).trim();
}

/** The rpm, queried, and installed, upgraded and erased in a tree by rpm(8) itself, whose scripts run in it. */
export function rpmPackage(architecture: Architecture, tell: Tell): void {
  const file = make('rpm', architecture);
  const newer = make('rpm', architecture, '9.9.9');
  const query = (...args: string[]) =>
    execFileSync('rpm', ['-qp', ...args, file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const required = query('--requires').trim().split('\n');
  for (const soname of ['libc.so.6(GLIBC_2.28)(64bit)', 'libstdc++.so.6()(64bit)', 'libgcc_s.so.1()(64bit)'])
    assert.ok(required.includes(soname), `it does not require ${soname}`);
  // Names of packages only where all distributions agree on them.
  const named = required.filter((line) => !/[(/]/.test(line));
  assert.deepEqual([...new Set(named)].sort(), ['systemd >= 247', 'util-linux']);
  assert.match(query('--configfiles'), /^\/etc\/default\/onboardd$/m);
  assert.match(query('--queryformat', '%{ARCH}'), new RegExp(machineOf[architecture]));
  tell(`queried: ${query('--list').trim().split('\n').length} files`);

  const { tree, remove } = freshTree(architecture, 'trixie');
  try {
    // The tree's own packages are Debian's, of which rpm knows nothing.
    const rpm = (...args: string[]) => {
      const { stdout, stderr } = run('rpm', ['--root', tree, '--force-debian', '--nodeps', ...args]);
      return `${stdout}${stderr}`;
    };
    const there = (path: string) => existsSync(join(tree, path));
    assert.match(rpm('--install', file), /is not configured; write this line/);
    assert.match(inTree(tree, 'onboardd', '--version'), /^\d+\.\d+\.\d+$/m);
    assert.match(readFileSync(join(tree, 'etc/passwd'), 'utf8'), /^onboardd:/m);
    const link = 'etc/systemd/system/multi-user.target.wants/onboardd.service';
    assert.match(readlinkSync(join(tree, link)), /onboardd\.service$/);
    assert.ok(readlinkSync(join(tree, 'usr/lib/systemd/system/onboardd.service.d/10-systemd-253.conf')));
    assert.equal(
      installed(tree, '-V', '--nodeps', 'onboardd')
        .replace(/^.*(?:missing|10-systemd).*$/gm, '')
        .trim(),
      '',
    );
    tell('installed: runs, its user made, enabled, verified');
    writeFileSync(join(tree, 'etc/default/onboardd'), 'ONBOARDD_PROVISIONING_URL=http://127.0.0.1:9\n');
    assert.doesNotMatch(rpm('--upgrade', newer), /not configured/);
    assert.match(installed(tree, '-q', 'onboardd'), /9\.9\.9/);
    assert.match(readFileSync(join(tree, 'etc/default/onboardd'), 'utf8'), /127\.0\.0\.1:9/);
    assert.ok(readlinkSync(join(tree, link)), 'an upgrade disabled it');
    tell('upgraded: configuration and what is enabled are kept');
    rpm('--erase', 'onboardd');
    assert.ok(!there('usr/bin/onboardd'));
    assert.ok(!isLink(join(tree, link)));
    tell('erased');
  } finally {
    remove();
    rmSync(newer, { force: true });
  }
}

/** Asks the tree's database; `-V` ends with 1 for each file that was changed. */
function installed(tree: string, ...args: string[]): string {
  return execFileSync('sh', ['-c', 'rpm --root "$0" "$@" || true', tree, ...args], { encoding: 'utf8' });
}

/** @throws with what was written where it fails */
function run(command: string, args: string[]): { stdout: string; stderr: string } {
  const output = execFileSync('sh', ['-c', 'exec "$0" "$@" 2>&1', command, ...args], { encoding: 'utf8' });
  return { stdout: output, stderr: '' };
}

function isLink(path: string): boolean {
  try {
    return readlinkSync(path) !== '';
  } catch {
    return false;
  }
}

/** The loop devices of this host, one of them free, for a container, which gets none that is made while it runs. */
function loopDevices(): string[] {
  execFileSync('losetup', ['--find']);
  return readdirSync('/dev')
    .filter((name) => /^loop(-control|\d+)$/.test(name))
    .map((name) => `--bind=/dev/${name}`);
}

/**
 * Boots a tree and has its extension merged. The host's loop devices are everybody's, and one of the boot before is let go
 * of only some time after it: where the one that was free has been taken, the machine is booted again.
 * @param merge that the extension is merged, told by the output, or by the throw, of a command on the booted machine
 */
async function bootMerged(tree: string, tell: Tell, ...merge: string[]): Promise<Machine> {
  for (let attempt = 1; ; attempt++) {
    const machine = await boot(tree, loopDevices());
    const output = await machine
      .run(...merge)
      .catch(({ stdout, stderr }: Partial<Record<string, string>>) => {
        return `${stdout}${stderr}`;
      });
    if (attempt === 5 || !output.includes('Device or resource busy')) return machine;
    tell('the loop device was taken by somebody else: booted once more');
    await machine.powerOff();
  }
}

/**
 * The system extension on a booted Debian 13 that has never had a package of onboardd, by the lines of docs/install.md: the
 * image itself, mounted. Merged after boot, registered by it, and there again after a reboot.
 */
export async function systemExtension(architecture: Architecture, tell: Tell): Promise<void> {
  if (!existsSync('/dev/loop-control')) throw new NotHere('there are no loop devices');
  const image = make('sysext', architecture);
  const version = new RegExp(`^onboardd-(.*)-${architecture}\\.raw$`).exec(basename(image))?.[1] ?? '';
  const { tree, remove } = freshTree(architecture, 'trixie');
  copyFileSync(image, join(tree, 'root', basename(image)));
  const lines = (blocks('sh').get('sysext') ?? []).join('');
  writeFileSync(
    join(tree, 'root/extend.sh'),
    `cd /root\n${lines.replaceAll('VERSION', version).replaceAll('amd64', architecture)}`,
  );
  await using fleet = await startFleet({});
  const ports = [Number(new URL(fleet.provisioningUrl).port), fleet.nats.port];
  assert.ok(!existsSync(join(tree, 'usr/bin/onboardd')));
  let machine = await bootMerged(tree, tell, 'sh', '-eu', '/root/extend.sh');
  try {
    await machine.until(['systemctl', 'is-active', 'onboardd-sysext.service'], (text) => text === 'active');
    assert.match(await machine.run('losetup', '--list', '--noheadings'), /onboardd\.raw/);
    const failed = await machine.run('systemctl', 'list-units', '--failed', '--no-legend', '--plain');
    assert.doesNotMatch(failed, /onboardd/);
    tell(
      `merged after boot: ${(await machine.run('systemd-sysext', 'status', '--no-legend')).split('\n').join('; ')}`,
    );
    await machine.connect(ports, '10.99.0.1');
    mkdirSync(join(tree, 'etc/onboardd'), { recursive: true });
    writeFileSync(
      join(tree, 'etc/onboardd/config.json'),
      JSON.stringify({ provisioning: { url: `http://10.99.0.1:${ports[0]}` }, device: { type: 'kiosk' } }),
    );
    await machine.run('systemctl', 'restart', 'onboardd.service');
    await machine.until(
      ['systemctl', 'is-active', 'onboardd-registered.target'],
      (text) => text === 'active',
      120_000,
    );
    assert.equal(fleet.manager.accepted.size, 1);
    tell('configured: registered, the target is reached');
    await machine.powerOff();
    machine = await bootMerged(tree, tell, 'systemctl', 'status', '--no-pager', 'systemd-sysext.service');
    await machine.until(
      ['systemctl', 'is-active', 'onboardd-registered.target'],
      (text) => text === 'active',
      120_000,
    );
    assert.equal(fleet.manager.accepted.size, 1);
    tell('booted again: merged during boot, registered, nothing was asked again');
    await machine.run(
      'systemctl',
      'stop',
      'onboardd.service',
      'onboardd-registered.path',
      'onboardd-registered.target',
    );
    await machine.run('systemd-sysext', 'unmerge');
    assert.ok(!existsSync(join(tree, 'usr/bin/onboardd')));
    tell('unmerged');
  } catch (error) {
    tell(await machine.run('journalctl', '--boot', '--no-pager', '--lines', '200').catch(String));
    throw error;
  } finally {
    await machine.powerOff();
    remove();
  }
}
