import { join } from 'node:path';
import type { Status } from '../services/diagnostics/status.ts';
import { isRecord, parseJson } from '../text/json.ts';
import { replacePublicFile } from './publicFile.ts';
import { readRegularFile } from './regularFile.ts';

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
 * @param note writes the text of a device's status in place of a runtime directory
 */
export function runtimeStatus(
  environment: NodeJS.ProcessEnv,
  note: (text: string) => void = () => undefined,
): RuntimeStatus {
  const path = statusFileOf(environment.RUNTIME_DIRECTORY);
  let last: Status | null = null;
  const write = (status: Status) => {
    const text = `${JSON.stringify(status)}\n`;
    last = status;
    if (path === null) {
      if (status.deviceId !== null) note(text);
      return;
    }
    replacePublicFile(path, text);
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

/** What older versions did not publish. */
const newer = { waitsFor: null, problems: [] };

/** @returns what the daemon published; null if it cannot be read, or is not a status */
export function readRuntimeStatus(path: string): Status | null {
  try {
    const json = parseJson(readRegularFile(path) ?? '');
    return isRecord(json) && typeof json.state === 'string' && Array.isArray(json.history)
      ? { ...newer, ...(json as unknown as Status) }
      : null;
  } catch {
    return null;
  }
}
