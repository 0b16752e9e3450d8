import { join } from 'node:path';
import { readOwn } from '../adapters/disk/durableFile.ts';
import { isLocked, ownerOf } from '../adapters/disk/lockStatus.ts';
import * as pki from '../adapters/pki.ts';
import { readRuntimeStatus } from '../adapters/runtimeStatus.ts';
import { describe, OnboardingError } from '../errors/onboardingError.ts';
import { type Problem, problemFor } from '../errors/reasons.ts';
import { type Status, statusOf } from '../services/diagnostics/status.ts';
import { files } from '../services/state/deviceState.ts';
import { recallFor } from './recalledProgress.ts';

/** A state that cannot be read: nothing is known of the device but whether a daemon runs. */
export interface Unreadable {
  readonly state: null;
  readonly running: boolean | null;
  readonly problems: readonly Problem[];
}

export type Seen = Status | Unreadable;

export function isUnreadable(seen: Seen): seen is Unreadable {
  return seen.state === null;
}

/** In one line. */
export function unreadableWords({ problems, running }: Unreadable): string {
  const daemon = running === null ? 'unknown' : running ? 'running' : 'not running';
  const words = problems.map(
    ({ code, message, remedy }) => `${code}: ${message}; remedy: ${remedy.replace(/\.$/, '')}`,
  );
  return `${words.join('; ')}; daemon: ${daemon}`;
}

/**
 * What the daemon left on disk. What it waits for is newer in what it published.
 *
 * @param published file to read if the state directory cannot be read; null: none
 */
export function readStatus(folder: string, version: string, published: string | null): Seen {
  const running = isLocked(folder);
  try {
    const status = statusOf(readOwn(join(folder, files.state)), recallFor(folder), {
      reader: pki,
      version,
      running,
    });
    if (running === false) return withRefusedStart(status, published);
    const now = published === null ? null : readRuntimeStatus(published);
    const isSame = now?.state === status.state && now.since === status.since;
    return isSame ? { ...status, waitsFor: now.waitsFor ?? null } : status;
  } catch (error) {
    const status = isDenied(error) && published !== null ? readRuntimeStatus(published) : null;
    if (status !== null) return { ...status, running };
    return { state: null, running, problems: [isDenied(error) ? deniedTo(folder) : problemOf(error)] };
  }
}

/** A start that ended with an invalid configuration knew no device: what it published counts until the next start. */
function withRefusedStart(status: Status, published: string | null): Status {
  const last = published === null ? null : readRuntimeStatus(published);
  const isRefusal = last?.deviceId === null && last.lastError?.code === 'CONFIG_INVALID';
  return isRefusal ? { ...status, lastError: last.lastError } : status;
}

function problemOf(error: unknown): Problem {
  if (!(error instanceof OnboardingError)) return problemFor('INTERNAL', null, describe(error));
  return problemFor(error.code, error.reason, error.message);
}

function isDenied(error: unknown): boolean {
  const { cause } = error as { cause?: NodeJS.ErrnoException };
  return cause?.code === 'EACCES' || cause?.code === 'EPERM';
}

/** The state holds secrets: only its owner and root can read it. Without a published status, names the command that works. */
function deniedTo(folder: string): Problem {
  const owner = ownerOf(folder);
  const who = owner === null || owner === 'root' ? 'root' : `root and ${owner}`;
  const as = owner === null || owner === 'root' ? '' : `, or \`sudo -u ${owner} onboardd status\``;
  const message = `${join(folder, files.state)} holds secrets; only ${who} can read it`;
  const remedy = `Run \`sudo onboardd status\`${as}.`;
  return { code: 'STATE_UNWRITABLE', reason: 'no-permission', message, remedy };
}
