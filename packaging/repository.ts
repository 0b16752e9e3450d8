/**
 * A signed apt repository of packages: `npm run repository -- --key KEY [--out DIR] [--suite NAME] [DEB…]`.
 *
 *   --key    a file with a secret OpenPGP key, or the name of one in the keyring of gpg(1); else SIGNING_KEY
 *   --out    where it lies, `dist/repository` by default; packages that are there stay, so that a downgrade is possible
 *   --suite  `stable` by default
 *   DEB      `dist/*.deb` by default
 *
 * It is static files, for any web server. The public key is beside them, `onboardd-archive-keyring.asc`.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { type Signer, signerWith } from './signing.ts';
import { missingAfterInstalling, root } from './tools.mjs';

/** sysexits.h: wrong usage, and what is needed is not there. */
const usage = 64;
const unavailable = 69;
const pool = 'pool/main/o/onboardd';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    key: { type: 'string', default: process.env.SIGNING_KEY ?? '' },
    out: { type: 'string', default: join(root, 'dist/repository') },
    suite: { type: 'string', default: 'stable' },
  },
});
if (values.key === '')
  end(usage, 'name the key that signs it: --key FILE, or --key NAME of one in your keyring');
const missing = missingAfterInstalling(['apt-ftparchive', 'gpg']);
if (missing.length > 0)
  end(unavailable, `needed and not there: ${missing.join(', ')}; as root, this command installs them`);
const packages = positionals.length > 0 ? positionals : packagesIn(join(root, 'dist'));
if (packages.length === 0) end(usage, 'there is no package in dist: npm run package');

process.umask(0o022);
const out = resolve(values.out);
mkdirSync(join(out, pool), { recursive: true });
for (const file of packages) copyFileSync(file, join(out, pool, basename(file)));
using signer = signerWith(values.key);
writeIndices(out, values.suite, signer);
writeFileSync(join(out, 'onboardd-archive-keyring.asc'), signer.publicKey());
const held = packagesIn(join(out, pool)).length;
console.log(`${out}: ${held} packages, suite ${values.suite}, signed by ${signer.fingerprint}`);

/** Writes `dists/SUITE`, and puts it in place once it is whole. */
function writeIndices(folder: string, suite: string, by: Signer): void {
  const work = join(folder, 'dists', `${suite}.part`);
  rmSync(work, { recursive: true, force: true });
  const architectures = architecturesOf(packagesIn(join(folder, pool)));
  for (const architecture of architectures) {
    const indices = join(work, 'main', `binary-${architecture}`);
    mkdirSync(indices, { recursive: true });
    const index = ftparchive(folder, '--arch', architecture, 'packages', pool);
    writeFileSync(join(indices, 'Packages'), index);
    writeFileSync(join(indices, 'Packages.gz'), gzipSync(index, { level: 9 }));
  }
  const fields = {
    Origin: 'onboardd',
    Label: 'onboardd',
    Suite: suite,
    Codename: suite,
    Architectures: architectures.join(' '),
    Components: 'main',
    Description: 'onboardd, the onboarding agent',
  };
  const options = Object.entries(fields).flatMap(([name, text]) => [
    '-o',
    `APT::FTPArchive::Release::${name}=${text}`,
  ]);
  // Outside the folder that it sums up: it must not list itself.
  const release = ftparchive(folder, ...options, 'release', work);
  writeFileSync(join(work, 'Release'), release);
  by.sign(join(work, 'Release'), join(work, 'Release.gpg'));
  by.clearSign(join(work, 'Release'), join(work, 'InRelease'));
  const place = join(folder, 'dists', suite);
  const before = `${place}.old`;
  rmSync(before, { recursive: true, force: true });
  if (existsSync(place)) renameSync(place, before);
  renameSync(work, place);
  rmSync(before, { recursive: true, force: true });
}

function ftparchive(folder: string, ...args: string[]): string {
  const options = { cwd: folder, encoding: 'utf8', maxBuffer: 2 ** 26 } as const;
  return execFileSync('apt-ftparchive', ['-qq', ...args], options);
}

function packagesIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.deb'))
    .map((name) => join(folder, name))
    .sort();
}

function architecturesOf(files: readonly string[]): string[] {
  return [...new Set(files.map((file) => /_([^_]+)\.deb$/.exec(file)?.[1] ?? ''))].sort();
}

function end(status: number, reason: string): never {
  console.error(`repository: ${reason}`);
  process.exit(status);
}
