import { existsSync, lstatSync, readdirSync, type Stats, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { readOwn, removeDurably } from '../adapters/disk/durableFile.ts';
import { lockDirectory } from '../adapters/disk/lock.ts';
import { refusalOfStateDirectory } from '../adapters/disk/lockedStateDirectory.ts';
import { hostDefaults } from '../adapters/host.ts';
import { exportsOf, stateDirOf } from '../config/resolve.ts';
import { OnboardingError } from '../errors/onboardingError.ts';
import { files, parseState } from '../services/state/deviceState.ts';
import { reset } from '../services/state/reset.ts';
import { plainText } from '../text/plainText.ts';
import { type CommonFlags, exit, readSources, refusedStateDirectory } from './options.ts';

/** `onboardd reset`. @param yes without asking. @returns exit status */
export async function resetCommand(flags: CommonFlags, yes: boolean): Promise<number> {
  const { sources } = await readSources(flags);
  const folder = stateDirOf(sources, hostDefaults(process.env));
  const refusal = refusalOfStateDirectory(folder);
  if (refusal !== null) {
    process.stderr.write(`onboardd: CONFIG_INVALID: ${plainText(refusedStateDirectory(folder, refusal))}\n`);
    return exit.configuration;
  }
  if (!existsSync(folder)) {
    process.stdout.write(`${plainText(folder)} is not there: nothing to forget\n`);
    return exit.ok;
  }
  if (
    !yes &&
    !(await confirmed(
      `Forget the identity in ${plainText(folder)}? The fleet will know this device no more. [y/N] `,
    ))
  ) {
    process.stderr.write(
      process.stdin.isTTY
        ? 'nothing was changed\n'
        : 'onboardd: reset needs --yes where nobody can be asked\n',
    );
    return process.stdin.isTTY ? exit.failed : exit.usage;
  }
  try {
    const unlock = lockDirectory(folder);
    forget(folder, exportsOf(sources));
    unlock();
    return exit.ok;
  } catch (error) {
    if (!(error instanceof OnboardingError)) throw error;
    process.stderr.write(`onboardd: ${error.code}: ${plainText(error.message)}\n`);
    return error.code === 'STATE_LOCKED' ? exit.locked : exit.failed;
  }
}

/** @param configured paths that the configuration exports now */
function forget(folder: string, configured: readonly string[]): void {
  const now = configured.map((path) => resolve(path));
  const before = exportedOf(folder).filter((path) => !now.includes(path));
  reset({
    list: () => readdirSync(folder),
    remove: (name) => remove(join(folder, name), null),
    removeExports() {
      for (const path of now) remove(path, null);
      for (const path of before) remove(path, mayClaim(folder));
    },
  });
}

/** What was ever exported, as far as the state can be read. */
function exportedOf(folder: string): readonly string[] {
  try {
    return parseState(readOwn(join(folder, files.state)) ?? '').exported;
  } catch {
    return [];
  }
}

/**
 * Root must not remove whatever a service's user writes into its state: only what that user could have exported.
 *
 * @returns the owner that such a file has; null: any
 */
function mayClaim(folder: string): number | null {
  const { uid } = statSync(folder);
  return process.geteuid?.() === 0 && uid !== 0 ? uid : null;
}

/** Removes a file or a link, says so, and leaves a directory. @param owner whose alone; null: anybody's */
function remove(path: string, owner: number | null): boolean {
  const at = entry(path);
  if (at === undefined) return false;
  const left = at.isDirectory()
    ? 'it is a directory'
    : owner !== null && at.uid !== owner
      ? 'it belongs to another user than the state directory'
      : null;
  if (left === null) removeDurably(path);
  process.stdout.write(`${plainText(left === null ? `removed ${path}` : `left ${path}: ${left}`)}\n`);
  return left === null;
}

function entry(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch {
    // Below what is no folder any more there is nothing to remove.
    return undefined;
  }
}

async function confirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) return false;
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await terminal.question(question);
  terminal.close();
  return /^y(es)?$/i.test(answer.trim());
}
