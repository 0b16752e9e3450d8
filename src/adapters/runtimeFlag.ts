import { closeSync, constants, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const { O_WRONLY, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;

/**
 * Files in `$RUNTIME_DIRECTORY` that path units look at. `renewed`: written at each renewal. `unregistered`: the device
 * was registered and is not any more; `onboardd-unregistered.service` removes it.
 */
export type RuntimeFlag = 'renewed' | 'unregistered';

/** Writes the file, or removes it. No-op without a runtime directory. Never throws. */
export function setRuntimeFlag(directory: string | undefined, flag: RuntimeFlag, isSet: boolean): void {
  const [first = ''] = directory?.split(':') ?? [];
  if (first === '') return;
  try {
    const path = join(first, flag);
    // Root may be here, in a folder of the service's user: no link is followed, and nothing is emptied.
    if (isSet) closeSync(openSync(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o644));
    else rmSync(path, { force: true });
  } catch {
    // The directory is the service manager's; without it nobody waits.
  }
}
