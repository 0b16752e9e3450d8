/** The formats for other systems: an rpm in a tree, and a system extension on a booted Debian 13. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { startFleet } from '../../../fleet/fleet.ts';
import { root } from '../../../packaging/tools.mjs';
import { type Architecture, freshTree, inTree } from '../boot/image.ts';
import { boot } from '../boot/machine.ts';

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
  assert.match(query('--requires'), /^glibc >= 2\.28$/m);
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

/**
 * The system extension on a booted Debian 13 that has never had a package of onboardd: merged after boot, registered by it,
 * and there again after a reboot. A container has no loop devices: the image is laid out as a folder first.
 */
export async function systemExtension(architecture: Architecture, tell: Tell): Promise<void> {
  const image = make('sysext', architecture);
  const { tree, remove } = freshTree(architecture, 'trixie');
  const extension = join(tree, 'var/lib/extensions/onboardd');
  mkdirSync(join(tree, 'var/lib/extensions'), { recursive: true });
  execFileSync('unsquashfs', ['-no-progress', '-quiet', '-dest', extension, image], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  assert.deepEqual(readdirSync(extension), ['usr']);
  const off = join(tree, 'etc/systemd/system/systemd-sysext.service');
  // First by hand, after boot.
  execFileSync('ln', ['-s', '/dev/null', off]);
  await using fleet = await startFleet({});
  const ports = [Number(new URL(fleet.provisioningUrl).port), fleet.nats.port];
  let machine = await boot(tree);
  try {
    assert.ok(!existsSync(join(tree, 'usr/bin/onboardd')));
    await machine.run('systemd-sysext', 'merge');
    await machine.run('systemctl', 'daemon-reload');
    await machine.until(['systemctl', 'is-active', 'onboardd-sysext.service'], (text) => text === 'active');
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
    rmSync(off);
    inTree(tree, 'systemctl', 'enable', 'systemd-sysext.service');
    machine = await boot(tree);
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
  } finally {
    await machine.powerOff();
    remove();
  }
}
