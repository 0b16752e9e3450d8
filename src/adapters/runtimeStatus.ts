import { join } from 'node:path';
import { describe } from '../errors/onboardingError.ts';
import { problemFor, reasonOfDiskError } from '../errors/reasons.ts';
import type { Status } from '../services/diagnostics/status.ts';
import { isRecord, parseJson } from '../text/json.ts';
import { plainJson } from '../text/plainText.ts';
import { replacePublicFile } from './publicFile.ts';
import { readRegularFile } from './regularFile.ts';

/**
 * `/run/onboardd/status.json`: the status without secrets, readable for everybody. Without a runtime directory, or with one
 * that cannot be written, the file lies in the state directory, once there is a state.
 */
export interface RuntimeStatus {
  /** Replaces the file; not durable. @throws {Error} only if neither can be written */
  write(status: Status): void;
  /** What was written last says from then on that no daemon runs. Never throws. */
  stop(): void;
}

/**
 * @param environment with `RUNTIME_DIRECTORY`, which systemd sets
 * @param note writes the text of a device's status in place of a runtime directory
 * @param onUnwritable called once for each cause with which the runtime directory cannot be written
 */
export function runtimeStatus(
  environment: NodeJS.ProcessEnv,
  note: (text: string) => void = () => undefined,
  onUnwritable: (path: string, cause: string) => void = () => undefined,
): RuntimeStatus {
  const path = statusFileOf(environment.RUNTIME_DIRECTORY);
  let last: Status | null = null;
  let lastCause = '';
  const noteInState = (status: Status) => {
    if (status.deviceId !== null) note(textOf(status));
  };
  const write = (status: Status) => {
    last = status;
    if (path === null) return noteInState(status);
    try {
      replacePublicFile(path, textOf(status));
      lastCause = '';
    } catch (error) {
      const cause = describe(error);
      if (cause !== lastCause) onUnwritable(path, cause);
      lastCause = cause;
      const problem = problemFor(
        'STATE_UNWRITABLE',
        reasonOfDiskError(error),
        `cannot write ${path}: ${cause}`,
      );
      noteInState({ ...status, problems: [...status.problems, problem] });
    }
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

function textOf(status: Status): string {
  return `${plainJson(status)}\n`;
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
