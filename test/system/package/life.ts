import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installIn, inTree } from '../boot/image.ts';

const wanted = [
  'etc/systemd/system/multi-user.target.wants/onboardd.service',
  'etc/systemd/system/multi-user.target.wants/onboardd-registered.path',
];
const dropIn = 'usr/lib/systemd/system/onboardd.service.d/10-systemd-253.conf';
const state = 'var/lib/onboardd/state.json';
const config = 'etc/onboardd/config.json';
const defaults = 'etc/default/onboardd';

/**
 * A package's life in a tree that is not booted, as image builders have it: installed, upgraded, removed, purged.
 *
 * @param verify further checks of the tree with the package in it
 */
export function wholeLife(
  tree: string,
  deb: string,
  tell: (what: string) => void,
  verify: (tree: string) => void,
): void {
  const read = (path: string) => readFileSync(join(tree, path), 'utf8');
  const there = (path: string) => existsSync(join(tree, path));

  assert.match(installIn(tree, deb), /is not configured; write this line, .*ONBOARDD_PROVISIONING_URL=http/);
  assert.match(read(defaults), /^#ONBOARDD_PROVISIONING_URL=/m);
  assert.ok(!there(config), 'the configuration file is the administrator’s');
  assert.equal(inTree(tree, 'dpkg', '--verify', 'onboardd'), '');
  assert.match(inTree(tree, 'onboardd', '--version'), /^\d+\.\d+\.\d+$/m);
  assert.match(read('etc/passwd'), /^onboardd:.*:\/var\/lib\/onboardd:.*nologin$/m);
  for (const link of wanted) assert.ok(isLink(tree, link), link);
  const { status, output } = runIn(tree, 'onboardd', 'run', '--once');
  assert.equal(status, 78, output);
  assert.match(output, /CONFIG_INVALID: provisioning\.url/);
  assert.ok(!there(state), 'it wrote, though its configuration is not whole');
  tell('installed: runs, enabled, its user made, and asks for provisioning.url with 78');
  const systemd = Number(/^systemd (\d+)/.exec(inTree(tree, 'systemctl', '--version'))?.[1]);
  assert.equal(isLink(tree, dropIn), systemd >= 253, 'the drop-in for systemd 253 and newer');
  verify(tree);

  writeFileSync(join(tree, config), '{"provisioning":{"url":"http://127.0.0.1:9"},"device":{"type":"t"}}\n');
  writeFileSync(join(tree, defaults), `${read(defaults)}ONBOARDD_LOG_LEVEL=debug\n`);
  inTree(tree, 'install', '-d', '-m', '700', '-o', 'onboardd', '-g', 'onboardd', '/var/lib/onboardd');
  inTree(tree, 'sh', '-c', `umask 077; echo kept > /${state}; chown onboardd: /${state}`);
  inTree(tree, 'systemctl', 'disable', 'onboardd-registered.path');
  const before = statSync(join(tree, state));
  const folder = mkdtempSync(join(tmpdir(), 'upgrade-'));
  try {
    // A question would end it: there is nobody to answer.
    assert.doesNotMatch(installIn(tree, newerVersion(deb, folder)), /not configured/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  assert.match(inTree(tree, 'dpkg-query', '-W', 'onboardd'), /\+upgrade$/m);
  assert.equal(read(state), 'kept\n');
  const after = statSync(join(tree, state));
  assert.deepEqual([after.uid, after.mode, after.ino], [before.uid, before.mode, before.ino]);
  assert.match(read(config), /127\.0\.0\.1:9/);
  assert.match(read(defaults), /^ONBOARDD_LOG_LEVEL=debug$/m);
  assert.ok(isLink(tree, wanted[0] ?? ''));
  assert.ok(!isLink(tree, wanted[1] ?? ''), 'an upgrade enabled what somebody had disabled');
  tell('upgraded: state, configuration and what somebody disabled are kept');

  inTree(tree, 'dpkg', '--remove', 'onboardd');
  assert.ok(!there('usr/bin/onboardd'));
  assert.ok(!isLink(tree, dropIn));
  assert.equal(read(state), 'kept\n');
  assert.ok(there(config));
  tell('removed: state and configuration are kept');

  inTree(tree, 'sh', '-c', `echo '{"exported":["/srv/token"]}' > /${state}`);
  assert.match(inTree(tree, 'dpkg', '--purge', 'onboardd'), /left where they are:\n\/srv\/token\n/);
  assert.ok(!there('var/lib/onboardd'));
  assert.ok(!there('etc/onboardd'));
  for (const link of wanted) assert.ok(!isLink(tree, link), `${link} was left`);
  assert.equal(
    inTree(tree, 'find', '/', '-xdev', '-name', '*onboardd*', '-not', '-path', '/proc/*').trim(),
    leftOver,
  );
  tell('purged: nothing is left but its user');
  installedAfterTheLine(tree, deb);
  tell('installed where the line was written before: it asks nothing and keeps it');
}

function installedAfterTheLine(tree: string, deb: string): void {
  const file = join(tree, defaults);
  const line = 'ONBOARDD_PROVISIONING_URL=http://127.0.0.1:9\n';
  writeFileSync(file, line);
  assert.doesNotMatch(installIn(tree, deb), /not configured/);
  assert.equal(readFileSync(file, 'utf8'), line);
  inTree(tree, 'dpkg', '--purge', 'onboardd');
  assert.ok(!existsSync(file));
}

/** What the test itself put there. */
const leftOver = '/root/onboardd.deb';

/**
 * The same package under a later version, with other words in each file that lies below /etc or is copied there: of a file
 * that somebody has changed, dpkg would ask. @param folder where it is put, and stays
 */
export function newerVersion(deb: string, folder: string): string {
  const version = execFileSync('dpkg-deb', ['--field', deb, 'Version'], { encoding: 'utf8' }).trim();
  return withVersion(deb, `${version}+upgrade`, folder, (tree) => {
    for (const path of [defaults, 'usr/share/onboardd/default'])
      if (existsSync(join(tree, path))) appendFileSync(join(tree, path), '# Of a later release\n');
  });
}

/**
 * The same package under another version, packed without compression.
 *
 * @param folder where it is put, and stays
 * @param change called with the unpacked package
 */
export function withVersion(
  deb: string,
  version: string,
  folder: string,
  change?: (tree: string) => void,
): string {
  const tree = join(folder, 'tree');
  execFileSync('dpkg-deb', ['-R', deb, tree]);
  change?.(tree);
  const control = join(tree, 'DEBIAN/control');
  writeFileSync(control, readFileSync(control, 'utf8').replace(/^Version: .*$/m, `Version: ${version}`));
  const architecture = /_([^_]+)\.deb$/.exec(deb)?.[1];
  const file = join(folder, `onboardd_${version}_${architecture}.deb`);
  execFileSync('dpkg-deb', ['--root-owner-group', '-Znone', '-b', tree, file], { stdio: 'ignore' });
  rmSync(tree, { recursive: true });
  return file;
}

function isLink(tree: string, path: string): boolean {
  try {
    return inTree(tree, 'readlink', `/${path}`) !== '';
  } catch {
    return false;
  }
}

function runIn(tree: string, ...command: string[]): { status: number; output: string } {
  try {
    return { status: 0, output: inTree(tree, ...command) };
  } catch (error) {
    const { status, stdout, stderr } = error as { status: number; stdout: string; stderr: string };
    return { status, output: `${stdout}${stderr}` };
  }
}
