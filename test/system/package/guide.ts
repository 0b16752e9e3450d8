/** docs/install.md, executed: its fenced blocks of commands, each by the word behind `sh`. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { signerWith } from '../../../packaging/signing.ts';
import { root } from '../../../packaging/tools.mjs';
import { type Architecture, freshTree, inTree } from '../boot/image.ts';
import { throwAwayKey } from './origins.ts';
import { aptOf, serve } from './repository.ts';

/** Words of blocks that are not run here, and why. */
const notRun: Readonly<Record<string, string>> = {
  packages: 'the other parts of this suite make the packages, by the same command',
  booted: '`npm run test:boot` runs them on a booted machine',
  sysext: 'the part `sysext` runs them on a booted machine',
  elsewhere: 'dnf needs Fedora, the others bitbake and Buildroot, of which Debian has no package',
};

/** @returns word → blocks of a language */
export function blocks(language: 'sh' | 'ini'): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const page = readFileSync(join(root, 'docs/install.md'), 'utf8');
  const fenced = new RegExp(`^\`\`\`${language} ?(\\S*)\\n([\\s\\S]*?)^\`\`\`$`, 'gm');
  for (const [, word = '', block = ''] of page.matchAll(fenced))
    found.set(word, [...(found.get(word) ?? []), block]);
  return found;
}

/** Runs each line of the page that can be run here: the repository, the checks of a package, the ways to install it, the units. */
export async function guide(
  architecture: Architecture,
  deb: string,
  tell: (what: string) => void,
): Promise<void> {
  const all = blocks('sh');
  const run = ['repository', 'verify', 'device', 'card'];
  assert.deepEqual([...all.keys()].filter((word) => !run.includes(word)).sort(), Object.keys(notRun).sort());
  const folder = mkdtempSync(join(tmpdir(), 'guide-'));
  const out = join(folder, 'out');
  const server = await serve(out);
  const { tree, remove } = freshTree(architecture, 'trixie');
  try {
    const key = throwAwayKey(folder);
    published(all.get('repository') ?? [], { folder, key, out, deb });
    tell('repository: run');
    verified(all.get('verify') ?? [], folder, key);
    tell('verify: run');
    // Its sources are those of the page.
    aptOf(tree, server.port);
    rmSync(join(tree, 'etc/apt/sources.list.d/onboardd.sources'));
    copyFileSync(join(out, 'onboardd-archive-keyring.asc'), join(tree, 'root/onboardd-archive-keyring.asc'));
    const version = /_(.*)_[^_]+\.deb$/.exec(deb)?.[1] ?? '';
    cpSync(deb, join(tree, 'root', basename(deb)));
    for (const block of all.get('device') ?? []) {
      const here = block
        .replaceAll('VERSION', version)
        .replaceAll('_arm64.deb', `_${architecture}.deb`)
        .replaceAll('https://packages.example.com/', `http://127.0.0.1:${server.port}/`);
      inTree(tree, 'sh', '-euc', `cd /root\n${here}`);
      assert.match(inTree(tree, 'dpkg-query', '-W', 'onboardd'), new RegExp(version.replaceAll('.', '\\.')));
      tell(`device: ${here.trim().split('\n').length} lines run`);
      if (here.includes('PROVISIONING_URL')) inTree(tree, '/usr/lib/onboardd/is-configured');
      inTree(tree, 'dpkg', '--purge', 'onboardd');
    }
    card(all.get('card') ?? [], { tree, architecture, deb, version });
    tell('card: run, with a tree in the place of its second partition');
    units(tree);
    tell('units and drop-ins: taken by systemd-analyze verify');
    for (const [word, reason] of Object.entries(notRun)) tell(`${word}: not run, ${reason}`);
  } finally {
    server.child.kill();
    remove();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Published {
  /** In the place of the home folder */
  readonly folder: string;
  readonly key: string;
  readonly out: string;
  readonly deb: string;
}

/** With a throw-away key for the fleet's, and into a folder of its own. */
function published(texts: readonly string[], { folder, key, out, deb }: Published): void {
  copyFileSync(key, join(folder, 'fleet-key.asc'));
  const env = { ...process.env, HOME: folder, npm_config_cache: join(folder, 'npm') };
  for (const text of texts)
    execFileSync('sh', ['-euc', `${text.trim()} --out ${out}`], { cwd: root, stdio: 'pipe', env });
  assert.ok(readFileSync(join(out, 'dists/stable/InRelease'), 'utf8').includes('BEGIN PGP SIGNATURE'));
  assert.ok(
    existsSync(join(out, 'pool/main/o/onboardd', basename(deb))),
    'the package of the last build is not in it',
  );
}

interface Card {
  readonly tree: string;
  readonly architecture: Architecture;
  readonly deb: string;
  readonly version: string;
}

/** As from another machine: the tree is what is mounted at /mnt. */
function card(texts: readonly string[], { tree, architecture, deb, version }: Card): void {
  const place = mkdtempSync(join(tmpdir(), 'card-'));
  try {
    copyFileSync(deb, join(place, basename(deb)));
    for (const text of texts) {
      const here = text
        .replaceAll('VERSION', version)
        .replaceAll('_arm64.deb', `_${architecture}.deb`)
        .replaceAll('/mnt', tree);
      const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
      execFileSync('sh', ['-euc', here], { cwd: place, stdio: 'pipe', env });
    }
    inTree(tree, '/usr/lib/onboardd/is-configured');
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

/** The page's unit, and its drop-ins for onboardd.service, which is installed. */
function units(tree: string): void {
  const all = blocks('ini');
  assert.deepEqual([...all.keys()].sort(), ['drop-in', 'unit']);
  const place = join(tree, 'etc/systemd/system');
  mkdirSync(join(place, 'onboardd.service.d'), { recursive: true });
  all.get('unit')?.forEach((text, n) => {
    writeFileSync(join(place, `page-${n}.service`), text);
  });
  all.get('drop-in')?.forEach((text, n) => {
    writeFileSync(join(place, 'onboardd.service.d', `page-${n}.conf`), text);
  });
  const names = ['onboardd.service', ...(all.get('unit') ?? []).map((_, n) => `page-${n}.service`)];
  const options = ['--man=no', '--recursive-errors=no', `--root=${tree}`];
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', ...options, ...names], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  // What is misspelt is only warned of.
  assert.doesNotMatch(stderr, /page-|Unknown (key|lvalue|section)/);
}

/** The sums, signed, with the public key beside them, as somebody has them who fetched the files. */
function verified(texts: readonly string[], folder: string, key: string): void {
  const place = mkdtempSync(join(folder, 'fetched-'));
  const dist = join(root, 'dist');
  const sums = readFileSync(join(dist, 'SHA256SUMS'), 'utf8');
  for (const name of readdirSync(dist))
    if (sums.includes(`  ${name}\n`)) copyFileSync(join(dist, name), join(place, name));
  writeFileSync(join(place, 'SHA256SUMS'), sums);
  using signer = signerWith(key);
  signer.sign(join(place, 'SHA256SUMS'), join(place, 'SHA256SUMS.asc'));
  writeFileSync(join(place, 'onboardd-archive-keyring.asc'), signer.publicKey());
  for (const text of texts)
    execFileSync('sh', ['-euc', text], { cwd: place, stdio: 'pipe', env: { ...process.env, HOME: place } });
}
