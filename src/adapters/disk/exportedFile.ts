import { readFileSync } from 'node:fs';
import { OnboardingError } from '../../errors/onboardingError.ts';
import { type StagedFile, stageDurably, stageRefresh, statOf } from './durableFile.ts';

/**
 * Writes what is to replace an exported file beside it if content, mode or group differ; otherwise the file keeps inode and
 * times.
 *
 * @param group name or number; null: the writer's own, or whatever the file has
 * @returns null if the file is as it should be
 * @throws {OnboardingError} STATE_UNWRITABLE, also if there is no such group or the writer may not give files to it
 */
export function stageExport(
  path: string,
  text: string,
  mode: number,
  group: string | null,
): StagedFile | null {
  if (group === null) return stageRefresh(path, text, mode);
  const gid = groupId(group);
  if (gid === null) throw new OnboardingError('STATE_UNWRITABLE', `there is no group ${group} for ${path}`);
  const owner = { uid: -1, gid };
  const at = statOf(path);
  try {
    const isOfGroup = at === null || at.gid === gid;
    return (isOfGroup ? stageRefresh : stageDurably)(path, text, mode, { owner });
  } catch (error) {
    throw ofGroup(error);
  }
}

/** EPERM: not in the group, or chown(2) is filtered; EINVAL: the group is outside the user namespace. */
function ofGroup(error: unknown): unknown {
  if (!(error instanceof OnboardingError)) return error;
  const { code, message, cause } = error;
  const isOfGroup = (cause as NodeJS.ErrnoException | undefined)?.syscall === 'fchown';
  return isOfGroup ? new OnboardingError(code, message, { cause, reason: 'group-refused' }) : error;
}

/** group(5). @returns null if there is no such group */
export function groupId(group: string, file = '/etc/group'): number | null {
  if (/^\d{1,10}$/.test(group)) return Number(group);
  try {
    const lines = readFileSync(file, 'utf8').split('\n');
    const [, , gid] = lines.map((line) => line.split(':')).find(([name]) => name === group) ?? [];
    return gid !== undefined && /^\d+$/.test(gid) ? Number(gid) : null;
  } catch {
    return null;
  }
}
