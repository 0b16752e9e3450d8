import { existsSync, lstatSync, readdirSync, rmSync, type Stats, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { type Owner, readOwned, removeDurably } from '../adapters/disk/durableFile.ts';
import { lockDirectory } from '../adapters/disk/lock.ts';
import { refusalOfStateDirectory } from '../adapters/disk/lockedStateDirectory.ts';
import { hostDefaults } from '../adapters/host.ts';
import { exportsOf, stateDirOf } from '../config/resolve.ts';
import { OnboardingError } from '../errors/onboardingError.ts';
import { files, parseState } from '../services/state/deviceState.ts';
import { reset } from '../services/state/reset.ts';
import { plainText } from '../text/plainText.ts';
import {
  type CommonFlags,
  exit,
  publishedStatusFile,
  readSources,
  refusedStateDirectory,
} from './options.ts';

/** `onboardd reset`. @param yes without asking. @returns exit status */
export async function resetCommand(flags: CommonFlags, yes: boolean): Promise<number> {
  const { sources, agent } = await readSources(flags);
  const folder = stateDirOf(sources, hostDefaults(process.env));
  if (isRefused(folder)) return exit.configuration;
  if (!existsSync(folder)) {
    process.stdout.write(`${plainText(folder)} does not exist: nothing to forget\n`);
    return exit.ok;
  }
  if (
    !yes &&
    !(await confirmed(
      `Forget the identity in ${plainText(folder)}? The fleet will not recognize this device any more. [y/N] `,
    ))
  ) {
    process.stderr.write(
      process.stdin.isTTY
        ? 'Nothing was changed.\n'
        : 'onboardd: reset needs --yes if standard input is not a terminal\n',
    );
    return process.stdin.isTTY ? exit.failed : exit.usage;
  }
  try {
    const unlock = lockDirectory(folder);
    // The path may lead elsewhere by the time the question is answered.
    const refused = isRefused(folder);
    if (!refused) {
      // An identity that stayed there would be adopted again.
      const left = Object.values(agent.files).filter((path) => path !== null);
      forget(folder, [...new Set([...exportsOf(sources), ...left])]);
      forgetPublished(flags);
    }
    unlock();
    return refused ? exit.configuration : exit.ok;
  } catch (error) {
    if (!(error instanceof OnboardingError)) throw error;
    process.stderr.write(`onboardd: ${error.code}: ${plainText(error.message)}\n`);
    return error.code === 'STATE_LOCKED' ? exit.locked : exit.failed;
  }
}

/** Prints why, if the folder is not a state directory. */
function isRefused(folder: string): boolean {
  const refusal = refusalOfStateDirectory(folder);
  if (refusal === null) return false;
  process.stderr.write(`onboardd: CONFIG_INVALID: ${plainText(refusedStateDirectory(folder, refusal))}\n`);
  return true;
}

/** It is the service manager's place: what cannot be removed there goes with the next boot. */
function forgetPublished(flags: CommonFlags): void {
  const path = publishedStatusFile(flags);
  try {
    if (path !== null) rmSync(path, { force: true });
  } catch {
    // It is replaced once the daemon runs.
  }
}

/** @param configured paths that the configuration exports now */
function forget(folder: string, configured: readonly string[]): void {
  const now = configured.map((path) => resolve(path));
  const { paths, user } = exportedOf(folder);
  const before = paths.filter((path) => !now.includes(path));
  reset({
    list: () => readdirSync(folder),
    remove: (name) => remove(join(folder, name), null),
    removeExports() {
      for (const path of now) remove(path, null);
      for (const path of before) remove(path, user);
    },
  });
}

/** The paths that were ever exported, and the user who may have written them into the state; null: root or ourselves */
function exportedOf(folder: string): { paths: readonly string[]; user: Owner | null } {
  try {
    const read = readOwned(join(folder, files.state));
    const owners = [statSync(folder), ...(read === null ? [] : [read.owner])];
    const other = process.geteuid?.() === 0 ? owners.find(({ uid }) => uid !== 0) : undefined;
    return { paths: parseState(read?.text ?? '').exported, user: other ?? null };
  } catch {
    return { paths: [], user: null };
  }
}

/**
 * Removes a file or a link and prints it; a directory stays.
 *
 * @param user only removes this user's file, with this user's rights: root must not remove whatever path a service's
 *   user writes into its state; null: any file, with our own rights
 */
function remove(path: string, user: Owner | null): boolean {
  const at = entry(path);
  if (at === undefined) return false;
  const left = at.isDirectory()
    ? 'it is a directory'
    : user !== null && at.uid !== user.uid
      ? 'it is owned by another user than the state directory'
      : user !== null && !removeAs(user, path)
        ? 'the owner of the state directory may not remove it'
        : null;
  if (left === null && user === null) removeDurably(path);
  process.stdout.write(`${plainText(left === null ? `removed ${path}` : `left ${path}: ${left}`)}\n`);
  return left === null;
}

/** @returns whether it is gone. @throws {OnboardingError} STATE_UNWRITABLE */
function removeAs(user: Owner, path: string): boolean {
  try {
    withRightsOf(user, () => removeDurably(path));
  } catch (error) {
    const { code } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM') throw error;
  }
  return entry(path) === undefined;
}

/** For root only; restores root's rights afterwards. @throws {Error} EPERM if the system forbids the change */
function withRightsOf({ uid, gid }: Owner, call: () => void): void {
  const [user, group, groups] = [process.geteuid?.(), process.getegid?.(), process.getgroups?.()];
  if (user === undefined || group === undefined || groups === undefined) return;
  try {
    process.setgroups?.([gid]);
    process.setegid?.(gid);
    process.seteuid?.(uid);
    call();
  } finally {
    process.seteuid?.(user);
    process.setegid?.(group);
    process.setgroups?.(groups);
  }
}

function entry(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch {
    // A parent is not a directory any more: nothing to remove.
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
