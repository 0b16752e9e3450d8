/**
 * The packages, held to what they promise: the same bytes twice, lintian, the units' hardening, completion, manual,
 * bill of materials; then installed, upgraded, removed and purged in a Debian tree: `npm run test:package`, or one
 * architecture: `npm run test:package -- arm64`. Needs root for the trees, and says so where there is none.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { bundled } from '../../../packaging/parts.mjs';
import { missingAfterInstalling, root } from '../../../packaging/tools.mjs';
import { type Architecture, freshTree, missingForTrees, NotHere } from '../boot/image.ts';
import { buildTwice } from './build.ts';
import { wholeLife } from './life.ts';
import { billOfMaterials, provenance, signature, strippedIsFound } from './origins.ts';
import { completeIn } from './shells.ts';

/** `systemd-analyze security` rates from 0, closed, to 10; times ten. */
const exposureLimit = 13;

const asked = process.argv.slice(2) as Architecture[];
for (const architecture of asked.length > 0 ? asked : (['amd64', 'arm64'] as const)) {
  console.log(`${architecture}:`);
  const [deb, again] = buildTwice(architecture);
  assert.deepEqual(members(again), members(deb), 'two builds of the same commit differ');
  tell('built in two folders: the same files', `sha256 ${digest(deb).slice(0, 16)}…`);
  execFileSync('sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: join(root, 'dist') });
  tell('SHA256SUMS');
  optional(['gpg', 'gpgv'], 'its signature', signature);
  tell('provenance', provenance(architecture, deb));
  tell(
    'stripped after the build',
    await strippedIsFound(architecture, join(root, 'dist', architecture, 'onboardd')),
  );
  contents(architecture, join(root, 'dist', architecture, 'tree'));
  if (architecture === (process.arch === 'x64' ? 'amd64' : process.arch))
    trace(join(root, 'dist', architecture, 'tree/usr/bin/onboardd'));
  optional(['lintian'], 'lintian', () =>
    execFileSync('lintian', ['--fail-on', 'error,warning', '--tag-display-limit', '0', deb], {
      encoding: 'utf8',
    }),
  );
  const missing = missingForTrees(architecture);
  if (missing.length > 0) {
    tell('install, upgrade, remove, purge', `not tested here: needs ${missing.join(', ')}`);
    continue;
  }
  for (const suite of architecture === 'amd64'
    ? (['bookworm', 'trixie'] as const)
    : (['bookworm'] as const)) {
    try {
      const { tree, remove } = freshTree(architecture, suite);
      process.once('exit', remove);
      wholeLife(tree, deb, (what) => tell(`${suite}, ${what}`), verify);
    } catch (error) {
      if (!(error instanceof NotHere)) throw error;
      tell(`${suite}, install, upgrade, remove, purge`, `not tested here: ${error.message}`);
    }
  }
}
console.log('all of it held');

/** The files beside the program. */
function contents(architecture: Architecture, tree: string): void {
  const read = (path: string) => readFileSync(join(tree, path));
  const bill = join(tree, 'usr/share/doc/onboardd/sbom.cdx.json');
  const texts = gunzipSync(read('usr/share/doc/onboardd/third-party-licences.gz')).toString();
  for (const { name } of bundled()) assert.ok(texts.includes(`\n${name} `), `no licence of ${name}`);
  tell('bill of materials and licences', `${billOfMaterials(architecture, bill)} parts`);
  for (const shell of ['bash', 'zsh', 'fish'] as const)
    optional([shell, 'script'], `completion in ${shell}`, () => completeIn(shell, tree));
  optional(['mandoc'], 'manual page', () =>
    execFileSync('mandoc', ['-T', 'lint', '-W', 'warning'], {
      input: gunzipSync(read('usr/share/man/man8/onboardd.8.gz')),
      encoding: 'utf8',
    }),
  );
  optional(['systemd-analyze'], 'hardening of onboardd.service', () => {
    const rated = execFileSync(
      'systemd-analyze',
      ['security', '--offline=true', '--no-pager', `--threshold=${exposureLimit}`, unitIn(tree)],
      { encoding: 'utf8' },
    );
    return /Overall exposure level .*: (\S+)/.exec(rated)?.[1] ?? '';
  });
}

/** A bug names the source: a current folder that is gone is one that can be had in the packaged program. */
function trace(program: string): void {
  const folder = mkdtempSync(join(tmpdir(), 'onboardd-'));
  const script = 'cd "$1" && rmdir "$1" && exec "$0" run --state-dir relative';
  const required = { ONBOARDD_PROVISIONING_URL: 'http://127.0.0.1:9', ONBOARDD_DEVICE_TYPE: 'mobile' };
  const env = { ...process.env, ...required };
  const { stderr } = spawnSync('sh', ['-c', script, program, folder], { encoding: 'utf8', env });
  assert.match(stderr, /^onboardd: .*uv_cwd\n[\s\S]*src\/cli\/run\.ts:\d+:\d+/);
  tell('a bug', 'its trace names the source');
}

/** The units, against the tree that they are installed in. */
function verify(tree: string): void {
  optional(['systemd-analyze'], 'systemd-analyze verify', () => {
    const isOurs = (name: string) => /^onboardd.*\.(service|path|target)$/.test(name);
    const units = readdirSync(join(tree, 'usr/lib/systemd/system')).filter(isOurs);
    const options = ['--man=no', '--recursive-errors=no', `--root=${tree}`];
    execFileSync('systemd-analyze', ['verify', ...options, ...units], { stdio: ['ignore', 'pipe', 'pipe'] });
  });
}

function unitIn(tree: string): string {
  const path = join(tree, 'usr/lib/systemd/system/onboardd.service');
  assert.ok(existsSync(path));
  return path;
}

/** @throws where the check fails; says so where its program cannot be had */
function optional(programs: string[], what: string, check: () => unknown): void {
  const missing = missingAfterInstalling(programs);
  const told = missing.length > 0 ? `not tested here: needs ${missing.join(', ')}` : check();
  tell(what, typeof told === 'string' ? told.trim() : '');
}

/** Digests of what is in a package, unpacked: the second was packed in haste. */
function members(deb: string): string[] {
  return ['--ctrl-tarfile', '--fsys-tarfile'].map((part) => {
    const tar = execFileSync('dpkg-deb', [part, deb], { maxBuffer: 2 ** 29 });
    return createHash('sha256').update(tar).digest('hex');
  });
}

function digest(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

function tell(what: string, more = ''): void {
  console.log(`  ${what}${more === '' ? '' : `: ${more}`}`);
}
