/**
 * The packages, held to what they promise: the same bytes twice, lintian, the units' hardening, completion, manual,
 * bill of materials, provenance; then installed, upgraded, removed and purged in Debian trees, from an apt repository, too, as an
 * rpm, and as a system extension: `npm run test:package`, or some of it: `npm run test:package -- arm64 files`. Needs root
 * for the trees, and says so where there is none.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { programsForHardwareKeys } from '../../../packaging/hardwareKeys.ts';
import { bundled } from '../../../packaging/parts.mjs';
import { missingAfterInstalling, root } from '../../../packaging/tools.mjs';
import { mayUnshare, stopInLookUp } from '../../support/silentNameServer.ts';
import { type Architecture, freshTree, missingForTrees, NotHere, type Suite } from '../boot/image.ts';
import { buildTwice } from './build.ts';
import { rpmPackage, systemExtension } from './foreign.ts';
import { guide } from './guide.ts';
import { wholeLife } from './life.ts';
import { optionalPart } from './optionalPart.ts';
import { billOfMaterials, provenance, signature, strippedIsFound } from './origins.ts';
import { buildrootPackage, nixFiles, yoctoRecipe } from './recipes.ts';
import { aptRepository } from './repository.ts';
import { completeIn } from './shells.ts';

/** `systemd-analyze security` rates from 0, closed, to 10; times ten. */
const exposureLimit = 13;
const mostMebibytes = 26;
/** glibc gives a name server that does not answer five seconds and more. */
const longestStopMs = 4_000;

const known: readonly Architecture[] = ['amd64', 'arm64'];
const here = process.arch === 'x64' ? 'amd64' : process.arch;

/** What is tested: a name on the command line runs that part alone, on the package that lies in `dist`. */
const parts: Readonly<Record<string, (architecture: Architecture, deb: string) => void | Promise<void>>> = {
  files,
  trees,
  async guide(architecture, deb) {
    if (architecture !== here) return;
    await optionally('install.md', ['apt-ftparchive', 'gpg', ...missingForTrees(architecture)], () =>
      guide(architecture, deb, (what) => tell(`install.md, ${what}`)),
    );
  },
  async pkcs11(architecture, deb) {
    const programs = [...programsForHardwareKeys(architecture), 'readelf', 'apt-ftparchive', 'gpg'];
    await optionally('keys in hardware', programs, () =>
      optionalPart(architecture, deb, (what) => tell(`keys in hardware, ${what}`)),
    );
  },
  async recipes(architecture) {
    const tree = join(root, 'dist', architecture, 'tree');
    tell('Yocto recipe, its do_install', yoctoRecipe(tree));
    await optionally('Buildroot package', ['make'], () => tell('Buildroot package', buildrootPackage(tree)));
    await optionally('Nix files', ['nix-instantiate'], () => tell('Nix files, evaluated', nixFiles(tree)));
  },
  async repository(architecture, deb) {
    await inTrees(architecture, ['apt-ftparchive', 'gpg'], async (suite) => {
      await aptRepository(suite, architecture, deb, (what) => tell(what));
    });
  },
  async rpm(architecture) {
    if (architecture !== here) return;
    await optionally('rpm', ['rpm', 'rpmbuild', ...missingForTrees(architecture)], () =>
      rpmPackage(architecture, (what) => tell(`rpm, ${what}`)),
    );
  },
  async sysext(architecture) {
    if (architecture !== here) return;
    await optionally('system extension', ['mksquashfs', ...missingForTrees(architecture)], () =>
      systemExtension(architecture, (what) => tell(`system extension, ${what}`)),
    );
  },
};

const asked = process.argv.slice(2);
const strange = asked.filter(
  (name) => !Object.hasOwn(parts, name) && !(known as readonly string[]).includes(name),
);
if (strange.length > 0) {
  const allowed = [...known, ...Object.keys(parts)].join(', ');
  console.error(`"${strange.join(' ')}" is neither an architecture nor a part; allowed: ${allowed}`);
  process.exit(64);
}
const named = known.filter((name) => asked.includes(name));
const chosen = Object.keys(parts).filter((name) => asked.includes(name));
for (const architecture of named.length > 0 ? named : known) {
  console.log(`${architecture}:`);
  const deb = chosen.length > 0 ? newestPackage(architecture) : buildAndCompare(architecture);
  for (const [name, part] of Object.entries(parts))
    if (chosen.length === 0 || chosen.includes(name)) await part(architecture, deb);
}
console.log('all of it held');

/** @returns the package, made anew */
function buildAndCompare(architecture: Architecture): string {
  const [deb, again] = buildTwice(architecture);
  assert.deepEqual(members(again), members(deb), 'two builds of the same commit differ');
  tell('built in two folders: the same bytes', `sha256 ${digest(deb).slice(0, 16)}…`);
  return deb;
}

/** @returns the package that was made last */
function newestPackage(architecture: Architecture): string {
  const folder = join(root, 'dist');
  const [newest] = readdirSync(folder)
    .filter((name) => name.startsWith('onboardd_') && name.endsWith(`_${architecture}.deb`))
    .map((name) => join(folder, name))
    .sort((one, other) => statSync(other).mtimeMs - statSync(one).mtimeMs);
  if (newest === undefined) throw new Error(`there is no package: npm run package -- ${architecture}`);
  return newest;
}

/** What needs no tree. */
async function files(architecture: Architecture, deb: string): Promise<void> {
  const mebibytes = statSync(deb).size / 2 ** 20;
  if (process.env.COMPRESSION !== 'fast') assert.ok(mebibytes <= mostMebibytes, `it has ${mebibytes} MiB`);
  tell('size', `${mebibytes.toFixed(1)} MiB`);
  execFileSync('sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: join(root, 'dist') });
  tell('SHA256SUMS');
  optional(['gpg', 'gpgv'], 'its signature', signature);
  tell('provenance', provenance(architecture, deb));
  const folder = join(root, 'dist', architecture);
  tell('stripped after the build', await strippedIsFound(architecture, join(folder, 'onboardd')));
  contents(architecture, join(folder, 'tree'));
  if (architecture === here) {
    trace(join(folder, 'tree/usr/bin/onboardd'));
    tell('stopped while no name server answers', stopped(join(folder, 'tree/usr/bin/onboardd')));
  }
  optional(['lintian'], 'lintian', () =>
    execFileSync('lintian', ['--fail-on', 'error,warning', '--tag-display-limit', '0', deb], {
      encoding: 'utf8',
    }),
  );
}

/** @returns how long it took */
function stopped(program: string): string {
  if (!mayUnshare) return 'not tested here: needs a network namespace of its own';
  const folder = mkdtempSync(join(tmpdir(), 'stop-'));
  try {
    const config = join(folder, 'config.json');
    const url = 'http://provisioning.example.net';
    writeFileSync(
      config,
      JSON.stringify({ stateDir: join(folder, 'state'), provisioning: { url }, device: { type: 't' } }),
    );
    const { status, ms } = stopInLookUp([program, 'run', '--config', config], folder);
    assert.equal(status, 0);
    assert.ok(ms < longestStopMs, `${ms} ms`);
    return `${ms} ms`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Installed, upgraded, removed and purged. */
async function trees(architecture: Architecture, deb: string): Promise<void> {
  await inTrees(architecture, [], (suite) => {
    const { tree, remove } = freshTree(architecture, suite);
    process.once('exit', remove);
    wholeLife(tree, deb, (what) => tell(`${suite}, ${what}`), verify);
  });
}

/** Does it for each release of Debian whose tree can be made here. */
async function inTrees(
  architecture: Architecture,
  programs: readonly string[],
  check: (suite: Suite) => unknown,
): Promise<void> {
  const suites: readonly Suite[] = architecture === 'amd64' ? ['bookworm', 'trixie'] : ['bookworm'];
  for (const suite of suites)
    await optionally(suite, [...programs, ...missingForTrees(architecture)], () => check(suite));
}

/** As `optional`, and says what this machine cannot do. */
async function optionally(what: string, programs: readonly string[], check: () => unknown): Promise<void> {
  const missing = missingAfterInstalling(programs);
  try {
    if (missing.length > 0) throw new NotHere(`needs ${missing.join(', ')}`);
    await check();
  } catch (error) {
    if (!(error instanceof NotHere)) throw error;
    tell(what, `not tested here: ${error.message}`);
  }
}

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
