/**
 * A signed apt repository of packages: `npm run repository -- --key KEY [--out DIR] [--suite NAME] [DEB…]`.
 *
 *   --key    a file with a secret OpenPGP key, or the name of one in the keyring of gpg(1); else SIGNING_KEY
 *   --out    where it lies, `dist/repository` by default; packages that are there stay, so that a downgrade is possible
 *   --suite  `stable` by default; a suite holds what was published in it, whatever other suites hold
 *   DEB      by default those of the last build, which `dist/SHA256SUMS` lists
 *
 * A file that was published stays as it is: other bytes under the same version are refused. It is static files, for any web server. The public key is beside them, `onboardd-archive-keyring.asc`.
 */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { type Signer, signerWith } from './signing.ts';
import { filesBuilt, sha256Of } from './sums.ts';
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
const packages =
  positionals.length > 0
    ? positionals
    : filesBuilt(join(root, 'dist')).filter((file) => file.endsWith('.deb'));
if (packages.length === 0) end(usage, 'dist/SHA256SUMS lists no package: npm run package');

process.umask(0o022);
const out = resolve(values.out);
mkdirSync(join(out, pool), { recursive: true });
const published = packages.map((file) => {
  const place = join(out, pool, basename(file));
  if (existsSync(place) && sha256Of(place) !== sha256Of(file))
    end(
      usage,
      `${basename(file)} was published with other bytes: devices may have it; build another version`,
    );
  return { file, place };
});
for (const { file, place } of published) if (!existsSync(place)) copyFileSync(file, place);
const names = new Set([...namesIn(values.suite), ...packages.map((file) => basename(file))]);
using signer = signerWith(values.key);
writeIndices(out, values.suite, signer);
writeFileSync(join(out, 'onboardd-archive-keyring.asc'), signer.publicKey());
console.log(`${out}: ${names.size} packages, suite ${values.suite}, signed by ${signer.fingerprint}`);

/** Writes `dists/SUITE`, and puts it in place once it is whole. */
function writeIndices(folder: string, suite: string, by: Signer): void {
  const work = join(folder, 'dists', `${suite}.part`);
  rmSync(work, { recursive: true, force: true });
  const architectures = architecturesOf([...names]);
  for (const architecture of architectures) {
    const indices = join(work, 'main', `binary-${architecture}`);
    mkdirSync(indices, { recursive: true });
    const index = ofSuite(ftparchive(folder, '--arch', architecture, 'packages', pool));
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

/** The paragraphs of an index whose files are in this suite: the pool is shared. */
function ofSuite(index: string): string {
  return index
    .split(/(?<=\n\n)/)
    .filter((paragraph) => names.has(fileOf(paragraph)))
    .join('');
}

/** @returns the names of the files that a suite holds already; none if it is new */
function namesIn(suite: string): string[] {
  const indices = join(out, 'dists', suite, 'main');
  if (!existsSync(indices)) return [];
  return readdirSync(indices).flatMap((name) =>
    readFileSync(join(indices, name, 'Packages'), 'utf8')
      .split('\n\n')
      .map(fileOf)
      .filter(Boolean),
  );
}

function fileOf(paragraph: string): string {
  return basename(/^Filename: (.*)$/m.exec(paragraph)?.[1] ?? '');
}

function architecturesOf(files: readonly string[]): string[] {
  return [...new Set(files.map((file) => /_([^_]+)\.deb$/.exec(file)?.[1] ?? ''))].sort();
}

function end(status: number, reason: string): never {
  console.error(`repository: ${reason}`);
  process.exit(status);
}
