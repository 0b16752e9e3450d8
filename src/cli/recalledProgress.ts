import { statSync } from 'node:fs';
import { join } from 'node:path';
import { readRuntimeStatus, statusFileOf } from '../adapters/runtimeStatus.ts';
import { files, type Progress, readProgress } from '../services/state/deviceState.ts';

/**
 * Reads what a daemon published last of a device, or for null of one that has no id yet, in the runtime directory or in the state directory: the newest counts.
 *
 * @returns null if nothing can be read
 */
export function recallFor(stateDir: string): (deviceId: string | null) => Progress | null {
  const runtime = statusFileOf(process.env.RUNTIME_DIRECTORY ?? '/run/onboardd');
  const paths = [...(runtime === null ? [] : [runtime]), join(stateDir, files.status)];
  return (deviceId) => {
    const found = paths.flatMap((path) => {
      const status = readRuntimeStatus(path);
      const progress = status?.deviceId === deviceId ? readProgress(status) : null;
      return progress === null ? [] : [{ progress, writtenAt: writtenAt(path) }];
    });
    return found.sort((one, other) => other.writtenAt - one.writtenAt)[0]?.progress ?? null;
  };
}

function writtenAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
