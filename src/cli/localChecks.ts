import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { directoryFacts } from '../adapters/disk/diskFacts.ts';
import { readOwn } from '../adapters/disk/durableFile.ts';
import { flockFlaw } from '../adapters/disk/lock.ts';
import { refusalOfStateDirectory } from '../adapters/disk/lockedStateDirectory.ts';
import { isLocked, ownerOf, userOfDaemon } from '../adapters/disk/lockStatus.ts';
import { readHardwareId } from '../adapters/hardware.ts';
import { serviceUser } from '../adapters/serviceUnit.ts';
import { describe, OnboardingError } from '../errors/onboardingError.ts';
import { reasonOfDiskError } from '../errors/reasons.ts';
import { type Finding, failed, failedBy, failedFor, passed } from '../services/diagnostics/check.ts';
import { checkDirectory } from '../services/diagnostics/checkLocal.ts';
import { checkOwner } from '../services/diagnostics/checkOwner.ts';
import { files } from '../services/state/deviceState.ts';
import { type Configured, refusedStateDirectory } from './options.ts';

/** `check` and `status` look at the same things, and say the same of them. */
export function lookAtConfiguration(resolved: Configured): Finding {
  return 'problems' in resolved ? failed('CONFIG_INVALID', resolved.problems.join('; ')) : passed('valid');
}

/** The directory, its disk, its content, and whose it is. */
export function lookAtDirectory(folder: string): Finding {
  try {
    const refusal = refusalOfStateDirectory(folder);
    if (refusal !== null) return failed('CONFIG_INVALID', refusedStateDirectory(folder, refusal));
    const facts = directoryFacts(folder);
    const readState = () => {
      readOwn(join(folder, files.key));
      return readOwn(join(folder, files.state));
    };
    const found = checkDirectory(
      folder,
      facts,
      { owner: ownerOf(folder), running: isLocked(folder) },
      { state: readState, hardware: readHardwareId },
    );
    if (found.verdict !== 'pass' || !facts.exists) return found;
    return checkOwner(ownershipOf(folder)) ?? found;
  } catch (error) {
    return unforeseen(error);
  }
}

/** @param found of the directory, which the daemon locks before it uses it */
export function lookAtLock(found: Finding): Finding {
  const flaw = found.verdict === 'pass' ? flockFlaw() : null;
  if (flaw === null) return found;
  const remedy = 'Install flock: it is part of util-linux and of BusyBox.';
  return failedFor('STATE_UNWRITABLE', null, `the state directory cannot be locked: ${flaw}`, remedy);
}

function ownershipOf(folder: string) {
  const owners = ['.', ...Object.values(files)].flatMap((name) => {
    const path = join(folder, name);
    const owner = lstatSync(path, { throwIfNoEntry: false }) === undefined ? null : ownerOf(path);
    return owner === null ? [] : [{ name, owner }];
  });
  const isOfService = folder === '/var/lib/onboardd';
  return { folder, service: isOfService ? serviceUser() : null, daemon: userOfDaemon(folder), owners };
}

/** What a check threw: a failure as the daemon logs it, a disk error, or a bug. */
export function unforeseen(error: unknown): Finding {
  if (error instanceof OnboardingError) return failedBy(error);
  const isOfDisk = error instanceof Error && 'syscall' in error;
  if (!isOfDisk) return failed('INTERNAL', describe(error));
  return failedFor('STATE_UNWRITABLE', reasonOfDiskError(error), describe(error));
}
