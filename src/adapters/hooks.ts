import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, readdirSync, type Stats, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe } from '../errors/onboardingError.ts';
import type { HookTrigger } from '../events.ts';
import type { Log } from './logger.ts';

export interface Hooks {
  /**
   * Runs the programs of the folder, one after the other, behind those of what happened before. Never throws.
   *
   * @param status without secrets; the programs read it, with the event, as one JSON object on standard input
   */
  run(trigger: HookTrigger, status: object | null): void;
  /** Resolves when no program runs and none waits. */
  idle(): Promise<void>;
}

const limitMs = 30_000;
const longestOutput = 4096;
/** Hidden files, editors' backups, and what a package manager sets aside */
const notMeant = /^\.|~$|\.(bak|old|orig|rej|save|sw[a-z]|tmp|disabled|dpkg-\w+|ucf-\w+|rpm(new|save|orig))$/;

/** @param timeoutMs after which a program and its process group are killed */
export function createHooks(dir: string, log: Log, timeoutMs = limitMs): Hooks {
  const folder = resolve(dir);
  let last: Promise<void> = Promise.resolve();
  return {
    run(trigger, status) {
      const input = `${JSON.stringify({ event: trigger, ...status })}\n`;
      last = last.then(async () => {
        for (const path of programsIn(folder, log)) await runOne(path, trigger, { input, log, timeoutMs });
      });
      last = last.catch((error) => {
        log('warn', 'hook.failed', `the hooks ended: ${describe(error)}`, {
          ...{ hook: folder, moment: trigger, cause: describe(error) },
        });
      });
    },
    idle: () => last,
  };
}

/** What may be run, in the order of the names. */
function programsIn(folder: string, log: Log): string[] {
  const skip = (hook: string, cause: string) => {
    log('warn', 'hook.skipped', `${hook} is not run: ${cause}`, { hook, cause });
    return false;
  };
  let names: string[];
  try {
    // Whoever may write there may put another's program in the place of a hook.
    const flaw = flawOf(statSync(folder));
    if (flaw !== null) {
      skip(folder, flaw);
      return [];
    }
    names = readdirSync(folder).filter((one) => !notMeant.test(one));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') skip(folder, describe(error));
    return [];
  }
  return names
    .sort()
    .map((one) => join(folder, one))
    .filter((path) => {
      const flaw = flawOfProgram(path);
      return flaw === null || skip(path, flaw);
    });
}

function flawOfProgram(path: string): string | null {
  try {
    const at = statSync(path);
    if (!at.isFile()) return 'it is no regular file';
    const flaw = flawOf(at);
    if (flaw !== null) return flaw;
    accessSync(path, constants.X_OK);
    return null;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES' ? 'it is not executable' : describe(error);
  }
}

function flawOf({ uid, mode }: Stats): string | null {
  if (uid !== 0 && uid !== process.geteuid?.())
    return 'it belongs neither to root nor to the user of the service';
  return (mode & 0o022) === 0 ? null : 'others than its owner may write to it';
}

interface RunOptions {
  readonly input: string;
  readonly log: Log;
  readonly timeoutMs: number;
}

/** Resolves when the program has ended, however. */
async function runOne(
  hook: string,
  trigger: HookTrigger,
  { input, log, timeoutMs }: RunOptions,
): Promise<void> {
  const started = performance.now();
  const { cause, output } = await outcomeOf(hook, trigger, input, timeoutMs);
  const durationMs = Math.round(performance.now() - started);
  log('debug', 'hook.ended', `${hook} ended`, { hook, moment: trigger, durationMs, output });
  if (cause !== null) log('warn', 'hook.failed', `${hook}: ${cause}`, { hook, moment: trigger, cause });
}

/** @returns `cause`: what went wrong; null: nothing */
function outcomeOf(
  hook: string,
  trigger: HookTrigger,
  input: string,
  timeoutMs: number,
): Promise<{ cause: string | null; output: string }> {
  return new Promise((settle) => {
    let output = '';
    let isLate = false;
    const child = spawn(hook, [trigger], {
      cwd: '/',
      // A process group of its own, to be killed as one.
      detached: true,
      env: environmentOf(trigger),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const timer = setTimeout(() => {
      isLate = true;
      killGroup(child);
    }, timeoutMs);
    const end = (cause: string | null) => {
      clearTimeout(timer);
      // A grandchild may hold them open.
      for (const stream of [child.stdout, child.stderr]) stream.destroy();
      settle({ cause, output });
    };
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text: Buffer) => {
        output = (output + text.toString('utf8')).slice(0, longestOutput);
      });
    }
    // Not every program reads it.
    child.stdin.on('error', () => undefined).end(input);
    child.once('error', (error) => end(describe(error)));
    child.once('exit', (code, signal) => {
      const how = signal === null ? `exit status ${code}` : `ended by ${signal}`;
      // What it wrote last may still be in the pipe.
      setImmediate(() => end(isLate ? `killed after ${timeoutMs / 1000} s` : code === 0 ? null : how));
    });
  });
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has just ended.
  }
}

/** Nothing of the daemon's own environment that may hold a secret. */
function environmentOf(trigger: HookTrigger): Record<string, string> {
  const passed = ['PATH', 'LANG', 'TZ', 'STATE_DIRECTORY', 'RUNTIME_DIRECTORY'].flatMap((key) => {
    const value = process.env[key];
    return value === undefined ? [] : [[key, value] as const];
  });
  return { ...Object.fromEntries(passed), ONBOARDD_EVENT: trigger };
}
