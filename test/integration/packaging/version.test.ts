import { execFileSync, spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { type Commit, commitOf, versionOf } from '../../../packaging/version.ts';

const commit: Commit = {
  hash: '0123456789abcdef0123456789abcdef01234567',
  seconds: Date.UTC(2026, 10, 24, 18, 30, 59) / 1000,
  tags: [''],
};

test('a package that is no release names its commit, one that is has the plain version', () => {
  expect(versionOf('0.2.0', commit)).toBe('0.2.0~git20261124.1830.0123456789ab');
  expect(versionOf('0.2.0', { ...commit, tags: ['latest', 'v0.2.0'] })).toBe('0.2.0');
  expect(versionOf('0.2.0', { ...commit, tags: ['v0.1.0'] })).not.toBe('0.2.0');
  expect(versionOf('0.2.0', null)).toBe('0.2.0');
});

test('the commit of a checkout is read, and there is none elsewhere', () => {
  expect(commitOf('/')).toBeNull();
  const here = commitOf('.');
  if (here === null) return;
  expect(here.hash).toBe(execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8' }).trim());
  expect(here.seconds).toBeGreaterThan(Date.UTC(2026, 0) / 1000);
});

test.skipIf(spawnSync('dpkg', ['--version']).status !== 0)(
  'Debian orders them: by time, and below the release',
  () => {
    const isBelow = (one: string, other: string) =>
      spawnSync('dpkg', ['--compare-versions', one, 'lt', other]).status === 0;
    const older = versionOf('0.2.0', commit);
    const newer = versionOf('0.2.0', { ...commit, hash: '0'.repeat(40), seconds: commit.seconds + 60 });
    expect([isBelow('0.1.0', older), isBelow(older, newer), isBelow(newer, '0.2.0')]).toEqual([
      true,
      true,
      true,
    ]);
  },
);
