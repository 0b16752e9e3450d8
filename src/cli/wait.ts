import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readOwn } from '../adapters/disk/durableFile.ts';
import { isLocked } from '../adapters/disk/lockStatus.ts';
import { watchFolders } from '../adapters/folderWatch.ts';
import { hostDefaults } from '../adapters/host.ts';
import { stateDirOf } from '../config/resolve.ts';
import { describe } from '../errors/onboardingError.ts';
import { progressOf, remedyOf } from '../services/diagnostics/status.ts';
import { files, parseState } from '../services/state/deviceState.ts';
import { plainText } from '../text/plainText.ts';
import { type CommonFlags, exit, readSources } from './options.ts';
import { recallFor } from './recalledProgress.ts';

export interface WaitFlags extends CommonFlags {
  /** Seconds; absent: without end */
  readonly timeout?: number;
  readonly ignoreFailed?: boolean;
}

const serviceStateDir = '/var/lib/onboardd';
const serviceRuntimeDir = '/run/onboardd';

/**
 * `onboardd wait`: returns when the device is registered and everything was delivered. Where the service runs that is
 * its runtime directory, which is empty after a boot; else what the daemon left on disk.
 *
 * @returns exit status
 */
export async function waitCommand(flags: WaitFlags): Promise<number> {
  const { sources } = await readSources(flags);
  const stateDir = stateDirOf(sources, hostDefaults(process.env));
  const runtimeDir = () => runtimeDirOf(stateDir);
  return await new Promise<number>((settle) => {
    const end = (code: number, message: string | null) => {
      stop();
      clearTimeout(timer);
      if (message !== null) process.stderr.write(`onboardd: ${plainText(message)}\n`);
      settle(code);
    };
    let seen: Seen = { state: null, problem: null };
    const look = () => {
      seen = lookAt(stateDir, runtimeDir());
      if (seen.state === 'registered') end(exit.ok, null);
      else if (seen.state === 'failed' && !flags.ignoreFailed) end(exit.failed, seen.problem);
    };
    const stop = watchFolders(() => [stateDir, runtimeDir() ?? stateDir], look);
    const late = () => end(exit.notRegistered, `not registered after ${flags.timeout} s${after(seen)}`);
    const timer = flags.timeout === undefined ? undefined : setTimeout(late, flags.timeout * 1000);
    look();
  });
}

interface Seen {
  /** null: cannot be read */
  readonly state: string | null;
  readonly problem: string | null;
}

function after({ state, problem }: Seen): string {
  return problem === null ? `: ${state}` : `: ${state === null ? '' : `${state}, `}${problem}`;
}

/** Of the service, where it runs: whoever may not read the state may look at it. */
function runtimeDirOf(stateDir: string): string | null {
  const [given = ''] = (process.env.RUNTIME_DIRECTORY ?? '').split(':');
  if (given !== '') return given;
  return resolve(stateDir) === serviceStateDir && existsSync(serviceRuntimeDir) ? serviceRuntimeDir : null;
}

function lookAt(stateDir: string, runtimeDir: string | null): Seen {
  if (runtimeDir !== null && existsSync(join(runtimeDir, 'registered')))
    return { state: 'registered', problem: null };
  try {
    const text = readOwn(join(stateDir, files.state));
    const recall = recallFor(stateDir);
    // A daemon that could not make an id says why; one that is gone left nothing that counts.
    const begun =
      text === null ? isLocked(stateDir) === true && recall(null) : progressOf(parseState(text), recall);
    if (!begun) return { state: 'idle', problem: null };
    const { state, lastError } = begun;
    const error =
      lastError &&
      `${lastError.code}: ${lastError.message}; ${remedyOf(lastError.code, lastError.reason) ?? ''}`;
    // What an earlier start left on disk is not yet so at this one.
    if (state === 'registered' && runtimeDir !== null) return { state: 'idle', problem: null };
    return { state, problem: error };
  } catch (error) {
    return { state: null, problem: describe(error) };
  }
}
