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
import { missingAfterInstalling, root } from '../../../packaging/tools.mjs';
import { type Architecture, freshTree, missingForTrees, NotHere } from '../boot/image.ts';
import { buildTwice } from './build.ts';
import { wholeLife } from './life.ts';

/** `systemd-analyze security` rates from 0, closed, to 10; times ten. */
const exposureLimit = 13;
const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const asked = process.argv.slice(2) as Architecture[];
for (const architecture of asked.length > 0 ? asked : (['amd64', 'arm64'] as const)) {
  console.log(`${architecture}:`);
  const [deb, again] = buildTwice(architecture);
  assert.equal(digest(again), digest(deb), 'two builds of the same commit differ');
  tell('built in two folders: the same bytes', `sha256 ${digest(deb).slice(0, 16)}…`);
  execFileSync('sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: join(root, 'dist') });
  tell('SHA256SUMS');
  contents(join(root, 'dist', architecture, 'tree'));
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
function contents(tree: string): void {
  const read = (path: string) => readFileSync(join(tree, path));
  const bill = JSON.parse(read('usr/share/doc/onboardd/sbom.cdx.json').toString());
  const named = bill.components.map(({ name }: { name: string }) => name);
  const texts = gunzipSync(read('usr/share/doc/onboardd/third-party-licences.gz')).toString();
  for (const name of ['node', ...Object.keys(dependencies)]) assert.ok(named.includes(name), name);
  for (const name of named.filter((part: string) => part !== 'node'))
    assert.ok(texts.includes(`\n${name} `), `no licence of ${name}`);
  tell('bill of materials and licences', `${named.length} parts`);
  const completion = join(tree, 'usr/share/bash-completion/completions/onboardd');
  const completed = execFileSync(
    'bash',
    ['-c', `. ${completion}; COMP_WORDS=(onboardd st); COMP_CWORD=1; _onboardd; echo "\${COMPREPLY[@]}"`],
    { encoding: 'utf8' },
  );
  assert.equal(completed.trim(), 'status');
  tell('completion', 'st → status');
  optional(['zsh'], 'completion for zsh', () =>
    execFileSync('zsh', ['-n', join(tree, 'usr/share/zsh/vendor-completions/_onboardd')]),
  );
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

function digest(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

function tell(what: string, more = ''): void {
  console.log(`  ${what}${more === '' ? '' : `: ${more}`}`);
}
