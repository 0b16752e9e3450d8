import { execFileSync } from 'node:child_process';

/** What git says of the sources. */
export interface Commit {
  readonly hash: string;
  /** Of the commit, seconds since 1970 */
  readonly seconds: number;
  /** Tags that point at it */
  readonly tags: readonly string[];
}

/**
 * The version of a package, as Debian orders them: a release is `0.2.0`; what comes before it names its commit and sorts
 * below it and by its time, `0.2.0~git20261124.1830.0123456789ab`.
 */
export function versionOf(next: string, commit: Commit | null): string {
  if (commit === null || commit.tags.includes(`v${next}`)) return next;
  const [, day = '', time = ''] = /^(.{10})T(.{5})/.exec(new Date(commit.seconds * 1000).toISOString()) ?? [];
  return `${next}~git${day.replaceAll('-', '')}.${time.replace(':', '')}.${commit.hash.slice(0, 12)}`;
}

/** @returns null where the sources are no git checkout */
export function commitOf(folder: string): Commit | null {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    const [hash = '', seconds = ''] = git('log', '-1', '--format=%H %ct').split(' ');
    return { hash, seconds: Number(seconds), tags: git('tag', '--points-at', 'HEAD').split('\n') };
  } catch {
    return null;
  }
}
