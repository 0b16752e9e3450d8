/** A kernel of Debian for arm64, and what starts a root file system with it. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { root } from '../../../packaging/tools.mjs';
import { NotHere } from './image.ts';

/** Files that qemu starts a machine with. */
export interface Kernel {
  readonly image: string;
  readonly initramfs: string;
}

/** In Debian's kernel these are modules. */
const drivers = ['virtio_pci', 'virtio_blk', 'virtio_console', 'virtio_net', 'virtio-rng'];

/** Debian's cloud kernel for arm64, fetched once and kept in `.tools`. @throws {NotHere} if it is not to be had */
export function cloudKernel(): Kernel {
  const folder = join(root, '.tools', 'kernel-arm64');
  const kernel = { image: join(folder, 'vmlinuz'), initramfs: join(folder, 'initramfs') };
  if (existsSync(folder)) return kernel;
  console.error(`fetching Debian's cloud kernel for arm64 into ${folder}`);
  const work = mkdtempSync(join(tmpdir(), 'kernel-'));
  try {
    const unpacked = fetchPackages(work);
    const made = join(work, 'made');
    mkdirSync(made);
    const [image = ''] = readdirSync(join(unpacked, 'boot')).filter((name) => name.startsWith('vmlinuz'));
    cpSync(join(unpacked, 'boot', image), join(made, 'vmlinuz'));
    writeInitramfs(unpacked, join(made, 'initramfs'));
    mkdirSync(join(root, '.tools'), { recursive: true });
    cpSync(made, `${folder}.part`, { recursive: true });
    renameSync(`${folder}.part`, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return kernel;
}

/** With apt, which knows of arm64 only in a folder of its own. @returns where both packages are unpacked */
function fetchPackages(work: string): string {
  // apt drops to a user of its own, which has to get in.
  chmodSync(work, 0o755);
  const place = (...parts: string[]) => {
    mkdirSync(join(work, ...parts), { recursive: true });
    return join(work, parts[0] ?? '');
  };
  const options = {
    'APT::Architecture': 'arm64',
    'APT::Architectures': 'arm64',
    'Dir::State::Lists': place('lists', 'partial'),
    'Dir::Cache': place('cache', 'archives', 'partial'),
    'Dir::State::status': join(work, 'status'),
  };
  writeFileSync(join(work, 'status'), '');
  const apt = (command: string, ...args: string[]) =>
    execFileSync(
      command,
      [...Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]), ...args],
      {
        cwd: work,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
  const unpacked = join(work, 'unpacked');
  try {
    apt('apt-get', '-qq', 'update');
    const [, image = ''] =
      /Depends: (linux-image-\S+)/.exec(apt('apt-cache', 'depends', 'linux-image-cloud-arm64')) ?? [];
    apt('apt-get', '-qq', 'download', image, 'busybox-static');
  } catch {
    throw new NotHere('apt brings no kernel for arm64');
  }
  for (const name of readdirSync(work).filter((one) => one.endsWith('.deb')))
    execFileSync('dpkg', ['-x', join(work, name), unpacked]);
  return unpacked;
}

/** Loads the modules, and starts systemd of the first disk, mounted as the kernel's command line says. */
function writeInitramfs(unpacked: string, file: string): void {
  const tree = `${file}.d`;
  for (const folder of ['bin', 'modules', 'dev', 'proc', 'sys', 'root'])
    mkdirSync(join(tree, folder), { recursive: true });
  cpSync(join(unpacked, 'bin/busybox'), join(tree, 'bin/busybox'));
  const files = readdirSync(join(unpacked, 'lib/modules'), { recursive: true, encoding: 'utf8' });
  const modules: string[] = [];
  const add = (name: string): void => {
    // Names are told with a dash here and an underscore there.
    const isIt = (path: string) => basename(path).replaceAll('-', '_') === `${name.replaceAll('-', '_')}.ko`;
    const found = files.find(isIt);
    if (found === undefined) throw new Error(`the kernel has no module ${name}`);
    if (modules.includes(basename(found))) return;
    const module = join(unpacked, 'lib/modules', found);
    // Of its section .modinfo
    const [, depends = ''] = /\0depends=([^\0]*)\0/.exec(readFileSync(module, 'latin1')) ?? [];
    depends.split(',').filter(Boolean).forEach(add);
    cpSync(module, join(tree, 'modules', basename(found)));
    modules.push(basename(found));
  };
  drivers.forEach(add);
  writeFileSync(
    join(tree, 'init'),
    `#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
for name in ${modules.join(' ')}; do busybox insmod /modules/$name; done
while ! [ -b /dev/vda ]; do busybox sleep 0.1; done
mode=rw
for word in $(busybox cat /proc/cmdline); do if [ $word = ro ]; then mode=ro; fi; done
busybox mount -t ext4 -o $mode /dev/vda /root
busybox umount /proc
busybox mount --move /dev /root/dev
exec busybox switch_root /root /lib/systemd/systemd
`,
    { mode: 0o755 },
  );
  execFileSync('sh', ['-c', `find . | cpio -o -H newc --quiet > ${file}`], { cwd: tree });
  rmSync(tree, { recursive: true });
}
