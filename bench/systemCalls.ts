import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** What one run did to disk and process table, as strace saw it. */
export interface SystemCalls {
  /** fsync and fdatasync */
  readonly syncs: number;
  /** The same by file, temporary files under the name that they get */
  readonly syncsByFile: Readonly<Record<string, number>>;
  /** Writes to regular files below the folder that was watched */
  readonly writes: number;
  readonly bytesWritten: number;
  readonly renames: number;
  /** Processes that ran another program */
  readonly children: number;
}

const calls = 'fsync,fdatasync,write,writev,pwrite64,pwritev,rename,renameat,renameat2,execve';

/** @throws {Error} where there is no strace, or it may not trace */
export function assertStrace(): void {
  const { status, stderr } = spawnSync('strace', ['-qq', '-o', '/dev/null', 'true'], { encoding: 'utf8' });
  if (status !== 0)
    throw new Error(`strace is needed to count system calls: ${stderr || 'it is not on PATH'}`);
}

/** The command that runs `command` with its calls traced into a file. */
export function traced(command: readonly string[], file: string): string[] {
  return [
    'strace',
    '-f',
    '-qq',
    '-y',
    '-s',
    '256',
    '-o',
    file,
    '-e',
    `trace=${calls}`,
    '-e',
    'signal=none',
    ...command,
  ];
}

/** Traces a process that runs. */
export function tracing(pid: number, file: string): string[] {
  return ['strace', '-f', '-qq', '-y', '-s', '256', '-o', file, '-e', `trace=${calls}`, '-p', `${pid}`];
}

/** @param folder below which writes count */
export function readTrace(file: string, folder: string): SystemCalls {
  const lines = callsOf(readFileSync(file, 'latin1'));
  const syncs = lines.filter(({ name }) => /^f(data)?sync$/.test(name));
  const writes = lines.filter(
    ({ name, args }) =>
      /^p?writev?(64)?$/.test(name) && args.match(/^\d+<([^>]*)>/)?.[1]?.startsWith(`${folder}/`),
  );
  const syncsByFile: Record<string, number> = {};
  for (const { args } of syncs) {
    const path = args.match(/^\d+<([^>]*)>/)?.[1] ?? '?';
    const name =
      path === folder ? 'the folder' : path.replace(`${folder}/`, '').replace(/^\.(.*)\.tmp$/, '$1');
    syncsByFile[name] = (syncsByFile[name] ?? 0) + 1;
  }
  const programs = new Set(lines.filter(({ name }) => name === 'execve').map(({ thread }) => thread));
  return {
    syncs: syncs.length,
    syncsByFile,
    writes: writes.length,
    bytesWritten: writes.reduce((sum, { result }) => sum + Math.max(0, result), 0),
    renames: lines.filter(({ name }) => name.startsWith('rename')).length,
    children: Math.max(0, programs.size - 1),
  };
}

interface Call {
  readonly thread: string;
  readonly name: string;
  readonly args: string;
  readonly result: number;
}

/** Calls that another thread's line interrupts are written in two parts. */
function callsOf(text: string): Call[] {
  const open = new Map<string, string>();
  return text.split('\n').flatMap((line) => {
    const [, thread = '', rest = ''] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
    if (rest.endsWith('<unfinished ...>')) {
      open.set(thread, rest.slice(0, -'<unfinished ...>'.length));
      return [];
    }
    const ended = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
    const whole = ended ? `${open.get(thread) ?? ''}${ended[1]}` : rest;
    const [, name, args = '', result] = /^(\w+)\((.*)\)\s+= (-?\d+|\?)/.exec(whole) ?? [];
    return name === undefined ? [] : [{ thread, name, args, result: Number(result) || 0 }];
  });
}

/** Runs a command to its end under strace. @throws {Error} where it does not end with 0 */
export function countCalls(
  command: readonly string[],
  { folder, stateDir, env }: { folder: string; stateDir: string; env: NodeJS.ProcessEnv },
): SystemCalls {
  const file = join(folder, 'trace');
  const [program = '', ...args] = traced(command, file);
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'], env });
  const counted = readTrace(file, stateDir);
  rmSync(file);
  return counted;
}
