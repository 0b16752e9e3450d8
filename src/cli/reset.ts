import { existsSync, lstatSync, readdirSync, type Stats, statSync } from 'node:fs';
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
import { type CommonFlags, exit, readSources, refusedStateDirectory } from './options.ts';

/** `onboardd reset`. @param yes without asking. @returns exit status */
export async function resetCommand(flags: CommonFlags, yes: boolean): Promise<number> {
  const { sources, agent } = await readSources(flags);
  const folder = stateDirOf(sources, hostDefaults(process.env));
  if (isRefused(folder)) return exit.configuration;
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
    // Until the question was answered the path may have come to lead elsewhere.
    const refused = isRefused(folder);
    // An identity that stayed there would be adopted again.
    const left = Object.values(agent.files).filter((path) => path !== null);
    if (!refused) forget(folder, [...new Set([...exportsOf(sources), ...left])]);
    unlock();
    return refused ? exit.configuration : exit.ok;
  } catch (error) {
    if (!(error instanceof OnboardingError)) throw error;
    process.stderr.write(`onboardd: ${error.code}: ${plainText(error.message)}\n`);
    return error.code === 'STATE_LOCKED' ? exit.locked : exit.failed;
  }
}

/** Says it, where the folder is not to be taken for a state directory. */
function isRefused(folder: string): boolean {
  const refusal = refusalOfStateDirectory(folder);
  if (refusal === null) return false;
  process.stderr.write(`onboardd: CONFIG_INVALID: ${plainText(refusedStateDirectory(folder, refusal))}\n`);
  return true;
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

/** What was ever exported, as far as the state can be read, and who could have written that into it; null: root or we */
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
 * Removes a file or a link, says so, and leaves a directory.
 *
 * @param user whose file alone, and with whose rights: root must not remove whatever a service's user writes into its
 *   state, nor what the path leads to once it was looked at; null: anybody's, with our own
 */
function remove(path: string, user: Owner | null): boolean {
  const at = entry(path);
  if (at === undefined) return false;
  const left = at.isDirectory()
    ? 'it is a directory'
    : user !== null && at.uid !== user.uid
      ? 'it belongs to another user than the state directory'
      : user !== null && !removeAs(user, path)
        ? 'the owner of the state directory may not remove it'
        : null;
  if (left === null && user === null) removeDurably(path);
  process.stdout.write(`${plainText(left === null ? `removed ${path}` : `left ${path}: ${left}`)}\n`);
  return left === null;
}

/** @returns whether the user may remove it, and it is gone. @throws {OnboardingError} STATE_UNWRITABLE */
function removeAs(user: Owner, path: string): boolean {
  try {
    withRightsOf(user, () => removeDurably(path));
  } catch (error) {
    const { code } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM') throw error;
  }
  return entry(path) === undefined;
}

/** Only root can, and gets its own rights back. @throws {Error} EPERM where the system lets root be nobody else */
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
