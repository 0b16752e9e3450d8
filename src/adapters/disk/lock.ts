import { spawnSync } from 'node:child_process';
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { describe, OnboardingError } from '../../errors/onboardingError.ts';
import { isSamePlace, type Place } from './durableFile.ts';

/**
 * Takes the state directory's lock: flock(2) on the directory itself, so that no file is left behind, the kernel
 * releases it in any case when the process ends, and only users with access to the directory can hold it. Node has no flock;
 * flock(1) of util-linux or busybox locks the inherited open file, which stays locked in this process.
 *
 * @param place the folder that was checked; another one in its place is refused; null: any
 * @returns a function that releases it
 * @throws {OnboardingError} STATE_LOCKED if another process holds it, STATE_UNWRITABLE if locking fails
 */
export function lockDirectory(folder: string, place: Place | null = null): () => void {
  const descriptor = open(folder);
  if (place !== null && !isSamePlace(fstatSync(descriptor), place)) {
    closeSync(descriptor);
    throw new OnboardingError('STATE_UNWRITABLE', `cannot lock ${folder}: another folder is in its place`);
  }
  const { status, error, stderr } = spawnSync('flock', ['-n', '-x', '3'], {
    stdio: ['ignore', 'ignore', 'pipe', descriptor],
    encoding: 'utf8',
    timeout: 10_000,
  });
  if (status === 0) return () => closeSync(descriptor);
  closeSync(descriptor);
  if (status === 1) throw new OnboardingError('STATE_LOCKED', `another onboardd runs on ${folder}`);
  throw new OnboardingError(
    'STATE_UNWRITABLE',
    `cannot lock ${folder}: flock: ${error ? describe(error) : stderr.trim()}`,
  );
}

/** Why no directory can be locked here; null: flock can be started. Locks nothing. */
export function flockFlaw(): string | null {
  const { error } = spawnSync('flock', ['--version'], { stdio: 'ignore', timeout: 10_000 });
  return error === undefined ? null : `flock: ${describe(error)}`;
}

function open(folder: string): number {
  try {
    return openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (cause) {
    throw new OnboardingError('STATE_UNWRITABLE', `cannot open ${folder}: ${describe(cause)}`, { cause });
  }
}
