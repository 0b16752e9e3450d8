import { chmodSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Status } from '../services/diagnostics/status.ts';
import { files, type Progress, readProgress, type StateDirectory } from '../services/state/deviceState.ts';
import { isRecord, parseJson } from '../text/json.ts';

/**
 * `/run/onboardd/status.json`: the status without secrets, readable for everybody. Without a runtime directory the file
 * lies in the state directory, once there is a state.
 */
export interface RuntimeStatus {
  /** Replaces the file; not durable. @throws {Error} */
  write(status: Status): void;
  /** What was written last says from then on that no daemon runs. Never throws. */
  stop(): void;
}

/**
 * @param environment with `RUNTIME_DIRECTORY`, which systemd sets
 * @param directory in place of a runtime directory; null: none
 */
export function runtimeStatus(
  environment: NodeJS.ProcessEnv,
  directory: Pick<StateDirectory, 'note'> | null,
): RuntimeStatus {
  const path = statusFileOf(environment.RUNTIME_DIRECTORY);
  let last: Status | null = null;
  const write = (status: Status) => {
    const text = `${JSON.stringify(status)}\n`;
    last = status;
    if (path === null) {
      if (status.deviceId !== null) directory?.note(files.status, text, 0o644);
      return;
    }
    const temporary = `${path}.tmp`;
    writeFileSync(temporary, text, { mode: 0o644 });
    // The umask took the rights of others away.
    chmodSync(temporary, 0o644);
    renameSync(temporary, path);
  };
  return {
    write,
    stop() {
      try {
        if (last !== null) write({ ...last, running: false });
      } catch {
        // The file is never in the way.
      }
    },
  };
}

/** @param directory as systemd names it: the first of several counts. @returns null without one */
export function statusFileOf(directory: string | undefined): string | null {
  const [first = ''] = directory?.split(':') ?? [];
  return first === '' ? null : join(first, 'status.json');
}

/** @returns what the daemon published; null if it cannot be read, or is not a status */
export function readRuntimeStatus(path: string): Status | null {
  try {
    const json = parseJson(readFileSync(path, 'utf8'));
    return isRecord(json) && typeof json.state === 'string' && Array.isArray(json.history)
      ? (json as unknown as Status)
      : null;
  } catch {
    return null;
  }
}

/**
 * Reads what a daemon published last of a device, in the runtime directory or in the state directory: the newest counts.
 *
 * @returns null if nothing can be read
 */
export function recallFor(stateDir: string): (deviceId: string) => Progress | null {
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
