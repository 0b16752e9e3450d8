import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../support/program.ts';

const script = fileURLToPath(new URL('../../scripts/release.mjs', import.meta.url));
const today = new Date().toISOString().slice(0, 10);
const identity = ['-c', 'user.name=a', '-c', 'user.email=a@b'];

/** A repository with what a release touches. */
function repository(changelog = '# Changelog\n\n## 0.1.0, not yet released\n\n### Added\n\n- A thing.\n') {
  const folder = temporaryFolder();
  const git = (...args: string[]) =>
    execFileSync('git', [...identity, ...args], { cwd: folder, encoding: 'utf8' }).trim();
  mkdirSync(join(folder, 'scripts'));
  cpSync(script, join(folder, 'scripts/release.mjs'));
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  const read = (name: string) => readFileSync(join(folder, name), 'utf8');
  write('CHANGELOG.md', changelog);
  write('scripts/build.mjs', 'const releaseDay = Date.UTC(2000, 0, 1) / 1000;\n');
  write('.gitignore', 'dist/\n');
  write('package.json', JSON.stringify({ version: '0.1.0', scripts: { test: 'exit 3' } }));
  write('package-lock.json', JSON.stringify({ version: '0.1.0', packages: { '': { version: '0.1.0' } } }));
  git('init', '--quiet');
  git('add', '.');
  git('commit', '--quiet', '--message', 'Begin');
  const release = (...args: string[]) =>
    spawnSync(process.execPath, [join(folder, 'scripts/release.mjs'), ...args], {
      encoding: 'utf8',
      env: {
        ...process.env,
        ...{ GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@b' },
        ...{ GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@b' },
      },
    });
  return { git, read, write, release };
}

test('a release sets the version, dates the changelog, and commits and tags both', () => {
  const { git, read, release } = repository();
  const { status, stderr } = release('0.2.0', '--skip-tests', '--skip-packages');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(JSON.parse(read('package.json')).version).toBe('0.2.0');
  const lock = JSON.parse(read('package-lock.json'));
  expect([lock.version, lock.packages[''].version]).toEqual(['0.2.0', '0.2.0']);
  expect(read('CHANGELOG.md')).toContain(`## 0.2.0, ${today}\n`);
  const [, day = ''] = /UTC\((.*)\)/.exec(read('scripts/build.mjs')) ?? [];
  const [year = 0, month = 0, date = 0] = day.split(', ').map(Number);
  expect(new Date(Date.UTC(year, month, date)).toISOString()).toContain(today);
  expect(git('log', '-1', '--format=%s')).toBe('Release 0.2.0');
  expect(git('describe', '--exact-match')).toBe('v0.2.0');
  expect(git('status', '--porcelain')).toBe('');
});

test('a dry run changes nothing, and says what would be done', () => {
  const { git, release } = repository();
  const { status, stdout } = release('0.2.0', '--skip-tests', '--dry-run');
  expect(status).toBe(0);
  expect(stdout).toBe(`would set version 0.2.0, date CHANGELOG.md ${today}, commit and tag v0.2.0\n`);
  expect([git('status', '--porcelain'), git('tag'), git('log', '--format=%s')]).toEqual(['', '', 'Begin']);
});

test('red tests end a release before anything is changed', () => {
  const { git, release } = repository();
  expect(release('0.2.0', '--skip-packages').status).not.toBe(0);
  expect([git('status', '--porcelain'), git('tag')]).toEqual(['', '']);
});

test.each([
  ['0.2', 'is not a version'],
  ['v0.2.0', 'is not a version'],
  ['0.2.0 0.3.0', 'is not a version'],
])('%s %s', (version, problem) => {
  const { status, stderr } = repository().release(...version.split(' '), '--skip-tests', '--skip-packages');
  expect(status).toBe(1);
  expect(stderr).toContain(problem);
});

test('a tree that is not clean, a tag that exists and a changelog without changes are refused', () => {
  const args = ['0.2.0', '--skip-tests', '--skip-packages'] as const;
  const dirty = repository();
  dirty.write('more.txt', 'x');
  expect(dirty.release(...args).stderr).toContain('the tree is not clean');
  const tagged = repository();
  tagged.git('tag', 'v0.2.0');
  expect(tagged.release(...args).stderr).toContain('the tag v0.2.0 exists');
  const empty = repository('# Changelog\n\n## Unreleased\n\n## 0.1.0, 2026-01-01\n\n- Old.\n');
  expect(empty.release(...args).stderr).toContain('says of no change');
  const released = repository('# Changelog\n\n## 0.1.0, 2026-01-01\n\n- Old.\n');
  expect(released.release(...args).stderr).toContain('no section that is not yet released');
});
