/** docs/install.md, executed: its fenced blocks of commands, each by the word behind `sh`. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { signerWith } from '../../../packaging/signing.ts';
import { root } from '../../../packaging/tools.mjs';
import { type Architecture, freshTree, inTree } from '../boot/image.ts';
import { throwAwayKey } from './origins.ts';
import { aptOf, publish, serve } from './repository.ts';

/** Words of blocks that are not run here, and why. */
const notRun: Readonly<Record<string, string>> = {
  packages: 'the other parts of this suite make the packages',
  repository: 'run with a throw-away key instead of the one in the home folder',
  network: 'needs a network, another distribution or another build system',
  booted: '`npm run test:boot` does the same on a booted machine',
  sysext: 'the part `sysext` does the same on a booted machine',
};

/** @returns word → blocks */
function blocks(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const page = readFileSync(join(root, 'docs/install.md'), 'utf8');
  for (const [, word = '', block = ''] of page.matchAll(/^```sh ?(\S*)\n([\s\S]*?)^```$/gm))
    found.set(word, [...(found.get(word) ?? []), block]);
  return found;
}

/** Runs each line of the page that can be run here: the checks of a package, and both ways to install it. */
export async function guide(
  architecture: Architecture,
  deb: string,
  tell: (what: string) => void,
): Promise<void> {
  const all = blocks();
  const run = ['verify', 'device'];
  assert.deepEqual([...all.keys()].filter((word) => !run.includes(word)).sort(), Object.keys(notRun).sort());
  const folder = mkdtempSync(join(tmpdir(), 'guide-'));
  const out = join(folder, 'out');
  const server = await serve(out);
  const { tree, remove } = freshTree(architecture, 'trixie');
  try {
    const key = throwAwayKey(folder);
    publish(key, out, deb);
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
    for (const [word, reason] of Object.entries(notRun)) tell(`${word}: not run, ${reason}`);
  } finally {
    server.child.kill();
    remove();
    rmSync(folder, { recursive: true, force: true });
  }
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
