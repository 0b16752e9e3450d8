/** The formats of a package, each made of the same tree. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { builtAt, builtOn, debianFile, gzip, version } from './build.ts';
import { root } from './tools.mjs';

type Pack = (architecture: string, tree: string) => string;

interface Format {
  /** Programs of the system that it needs */
  readonly needs: readonly string[];
  /** @returns path of the file that was made in `dist` */
  readonly pack: Pack;
}

export const formats = {
  deb: { needs: ['dpkg-deb', 'xz'], pack: deb },
  tar: { needs: [], pack: archive },
  rpm: { needs: ['rpmbuild'], pack: rpm },
  sysext: { needs: ['mksquashfs'], pack: sysext },
} as const satisfies Record<string, Format>;

export type FormatName = keyof typeof formats;

const isFast = process.env.COMPRESSION === 'fast';
const environment = { ...process.env, SOURCE_DATE_EPOCH: String(builtAt) };

/** As tar and gzip. */
function archive(architecture: string, tree: string): string {
  const file = join(root, 'dist', `onboardd-${version}-linux-${architecture}.tar.gz`);
  writeFileSync(file, gzip(tar(tree)));
  return file;
}

function tar(folder: string, ...members: string[]): Buffer {
  const fixed = ['--sort=name', `--mtime=@${builtAt}`, '--owner=0', '--group=0', '--numeric-owner'];
  const chosen = members.length > 0 ? members : ['.'];
  return execFileSync('tar', [...fixed, '--format=gnu', '-C', folder, '-c', ...chosen], {
    maxBuffer: 2 ** 29,
  });
}

/**
 * xz takes a minute of one core, and the package is an eighth smaller than at dpkg-deb's own levels: the filter for
 * machine code, which dpkg-deb has no option for, and a dictionary as large as unpacking on a small device can afford.
 * The filter for arm64 needs xz 5.4 to unpack, newer than Debian 11's.
 */
const filters: Readonly<Record<string, readonly string[]>> = {
  amd64: ['--x86', '--lzma2=preset=9e,dict=32MiB'],
  arm64: ['--lzma2=preset=9e,dict=32MiB,lc=2,lp=2,pb=2'],
};

function deb(architecture: string, tree: string): string {
  const file = join(root, 'dist', `onboardd_${version}_${architecture}.deb`);
  const control = mkdtempSync(join(tmpdir(), 'control-'));
  try {
    writeControl(architecture, tree, control);
    // One thread: several cut the data where the number of cores says, and the bytes would differ.
    const xz = (options: readonly string[], input: Buffer) =>
      execFileSync('xz', ['-T1', '-c', ...options], { input, maxBuffer: 2 ** 29 });
    const members: [string, Buffer][] = [
      ['debian-binary', Buffer.from('2.0\n')],
      ['control.tar.xz', xz(['-9'], tar(control))],
      // postinst makes it: of a conffile that somebody wrote first, dpkg asks, and fails where nobody answers.
      [
        'data.tar.xz',
        xz(isFast ? ['-1'] : (filters[architecture] ?? ['-9e']), tar(tree, '--exclude=./etc/default', '.')),
      ],
    ];
    writeFileSync(file, Buffer.concat([Buffer.from('!<arch>\n'), ...members.flatMap(memberOf)]));
  } finally {
    rmSync(control, { recursive: true });
  }
  return file;
}

/** A member of an ar archive, as deb(5) wants it. */
function memberOf([name, data]: [string, Buffer]): Buffer[] {
  const columns = [
    name.padEnd(16),
    `${builtAt}`.padEnd(12),
    '0'.padEnd(6),
    '0'.padEnd(6),
    '100644'.padEnd(8),
  ];
  const header = `${columns.join('')}${`${data.length}`.padEnd(10)}\`\n`;
  return [Buffer.from(header), data, Buffer.from(data.length % 2 === 0 ? '' : '\n')];
}

/** What dpkg reads: the package's description, its scripts, sums of its files. */
function writeControl(architecture: string, tree: string, control: string): void {
  chmodSync(control, 0o755);
  const files = readdirSync(tree, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const kibibytes = files.reduce((sum, path) => sum + Math.ceil(statSync(path).size / 1024), 0);
  const sums = files
    .filter((path) => !path.includes('/etc/'))
    .map((path) => execFileSync('md5sum', [path], { encoding: 'utf8' }).replace(`${tree}/`, ''));
  writeFileSync(join(control, 'md5sums'), sums.sort().join(''));
  writeFileSync(
    join(control, 'control'),
    debianFile('control')
      .replaceAll('@VERSION@', version)
      .replaceAll('@ARCHITECTURE@', architecture)
      .replaceAll('@SIZE@', String(kibibytes)),
  );
  writeFileSync(join(control, 'triggers'), debianFile('triggers'));
  for (const script of ['postinst', 'prerm', 'postrm']) {
    writeFileSync(join(control, script), debianFile(script));
    chmodSync(join(control, script), 0o755);
  }
}

const machineOf: Readonly<Record<string, string>> = { amd64: 'x86_64', arm64: 'aarch64' };

/** For Fedora, RHEL, openSUSE: the same tree, with the scripts of `packaging/rpm/onboardd.spec`. */
function rpm(architecture: string, tree: string): string {
  const machine = machineOf[architecture] ?? architecture;
  const file = join(root, 'dist', `onboardd-${version}-1.${machine}.rpm`);
  const work = mkdtempSync(join(tmpdir(), 'rpm-'));
  const changed = new Date(builtAt * 1000)
    .toUTCString()
    .replace(/^(...), (..) (...) (....).*/, '$1 $3 $2 $4');
  const spec = readFileSync(join(root, 'packaging/rpm/onboardd.spec'), 'utf8')
    .replaceAll('@VERSION@', version)
    .replaceAll('@DATE@', changed);
  writeFileSync(join(work, 'onboardd.spec'), spec);
  const defined = [
    ...(isFast ? ['_binary_payload w1.xzdio'] : []),
    `_topdir ${work}`,
    `_builddir ${work}`,
    `tree ${tree}`,
    `builddate ${builtOn}`,
  ];
  try {
    execFileSync(
      'rpmbuild',
      [
        '-bb',
        '--quiet',
        `--target=${machine}-linux`,
        ...defined.flatMap((line) => ['--define', line]),
        join(work, 'onboardd.spec'),
      ],
      { stdio: ['ignore', 'ignore', 'inherit'], env: environment },
    );
    cpSync(join(work, 'RPMS', machine, `onboardd-${version}-1.${machine}.rpm`), file);
  } finally {
    rmSync(work, { recursive: true });
  }
  return file;
}

/**
 * An image that systemd-sysext(8) lays over `/usr`, for systems whose root file system is read-only. It starts by itself
 * when it is merged, also after boot; it wants systemd 253 or newer.
 */
function sysext(architecture: string, tree: string): string {
  const file = join(root, 'dist', `onboardd-${version}-${architecture}.raw`);
  const work = mkdtempSync(join(tmpdir(), 'sysext-'));
  chmodSync(work, 0o755);
  try {
    cpSync(join(tree, 'usr'), join(work, 'usr'), { recursive: true, verbatimSymlinks: true });
    const extra = join(root, 'packaging/sysext');
    for (const path of readdirSync(extra, { recursive: true, encoding: 'utf8' }))
      if (statSync(join(extra, path)).isFile()) {
        mkdirSync(dirname(join(work, path)), { recursive: true });
        writeFileSync(
          join(work, path),
          readFileSync(join(extra, path), 'utf8').replace(
            '@ARCHITECTURE@',
            architecture === 'amd64' ? 'x86-64' : architecture,
          ),
        );
      }
    const dropIns = join(work, 'usr/lib/systemd/system/onboardd.service.d');
    mkdirSync(dropIns, { recursive: true });
    symlinkSync('/usr/lib/onboardd/systemd-253.conf', join(dropIns, '10-systemd-253.conf'));
    for (const path of readdirSync(work, { recursive: true, withFileTypes: true }))
      if (!path.isSymbolicLink()) utimesSync(join(path.parentPath, path.name), builtAt, builtAt);
    rmSync(file, { force: true });
    const compression = isFast ? ['-comp', 'zstd', '-Xcompression-level', '1'] : ['-comp', 'xz', '-b', '1M'];
    const fixed = ['-noappend', '-all-root', '-no-progress', '-quiet', ...compression];
    execFileSync('mksquashfs', [work, `${file}.part`, ...fixed], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: environment,
    });
    renameSync(`${file}.part`, file);
  } finally {
    rmSync(work, { recursive: true });
  }
  return file;
}
