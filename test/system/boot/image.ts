import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { missingAfterInstalling, root } from '../../../packaging/tools.mjs';

export type Architecture = 'amd64' | 'arm64';
/** Debian 12 and 13 */
export type Suite = 'bookworm' | 'trixie';

const include = ['systemd', 'systemd-sysv', 'dbus', 'libstdc++6', 'ca-certificates', 'iproute2', 'procps'];

/** What booting and installing in trees needs and could not be had: then there is nothing to be tested here. */
export function missingForTrees(architecture: Architecture): string[] {
  if (process.getuid?.() !== 0) return ['root'];
  const emulator = architecture === 'arm64' ? ['qemu-aarch64-static'] : [];
  return missingAfterInstalling(['debootstrap', 'systemd-nspawn', 'nsenter', ...emulator]);
}

/** This machine, and not the program, is what fails. */
export class NotHere extends Error {}

/** sysexits.h, EX_UNAVAILABLE */
export const unavailable = 69;

/** Ends a suite that cannot run on this machine with `unavailable`. @throws what is the program's fault */
export function sayNotHere(error: unknown): void {
  if (!(error instanceof NotHere)) throw error;
  console.log(`not tested here: ${error.message}`);
  process.exitCode = unavailable;
}

/** A minimal Debian tree with systemd, made once and kept in `.tools`. */
function debianTree(architecture: Architecture, suite: Suite): string {
  const tree = join(root, '.tools', `debian-${suite}-${architecture}`);
  if (existsSync(tree)) return tree;
  console.error(`making a Debian ${suite} tree for ${architecture} in ${tree}`);
  const work = `${tree}.part`;
  rmSync(work, { recursive: true, force: true });
  if (architecture === 'arm64') registerEmulator();
  const args = ['--variant=minbase', `--arch=${architecture}`, `--include=${include.join(',')}`, suite, work];
  try {
    execFileSync('debootstrap', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  } catch {
    throw new NotHere('debootstrap makes no tree');
  }
  renameSync(work, tree);
  return tree;
}

/** binfmt registrations can vanish: made right before they are used. */
export function registerEmulator(): void {
  const folder = '/proc/sys/fs/binfmt_misc';
  if (!existsSync(`${folder}/register`)) execFileSync('mount', ['-t', 'binfmt_misc', 'binfmt_misc', folder]);
  if (existsSync(`${folder}/qemu-aarch64`)) return;
  const magic =
    '\\x7f\\x45\\x4c\\x46\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00';
  const mask =
    '\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff';
  writeFileSync(`${folder}/register`, `:qemu-aarch64:M::${magic}:${mask}:/usr/bin/qemu-aarch64-static:OCF`);
}

/** A tree of its own, a copy, in a temporary folder. @returns it, and what removes it */
export function freshTree(
  architecture: Architecture,
  suite: Suite = 'bookworm',
): { tree: string; remove: () => void } {
  const source = debianTree(architecture, suite);
  const folder = mkdtempSync(join(tmpdir(), 'boot-'));
  const tree = join(folder, 'root');
  execFileSync('cp', ['-a', '--reflink=auto', source, tree]);
  writeFileSync(join(tree, 'etc/hostname'), 'device\n');
  // Empty: systemd makes one at the first boot, as in an image.
  writeFileSync(join(tree, 'etc/machine-id'), '');
  if (architecture === 'arm64') registerEmulator();
  return { tree, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Runs a command in a tree that is not booted. @throws with its output where it fails */
export function inTree(tree: string, ...command: string[]): string {
  return execFileSync('chroot', [tree, ...command], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive', HOME: '/root' },
  });
}

/** Installs a package in a tree that is not booted, as an image builder does. @returns what it said */
export function installIn(tree: string, deb: string): string {
  cpSync(deb, join(tree, 'root/onboardd.deb'));
  return inTree(tree, 'dpkg', '-i', '/root/onboardd.deb');
}
