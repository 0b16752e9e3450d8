import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { sendSignal } from '../test/support/sendSignal.ts';
import { environment, type Line, linesOf } from './run.ts';

/** A program that stays. */
export interface Running {
  readonly pid: number;
  readonly lines: readonly Line[];
  /** Resolves with the first line that `accepts`; rejects where the program ends before */
  until(accepts: (line: Line, all: readonly Line[]) => boolean): Promise<Line>;
  /** Ends it by SIGTERM: what is traced, if this is strace, which passes none on */
  stop(): Promise<void>;
}

export function start(command: readonly string[]): Running {
  const [program = '', ...args] = command;
  const child: ChildProcess = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: environment(),
  });
  const ended = once(child, 'exit');
  const lines: Line[] = [];
  const waiting = new Set<() => void>();
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (text) => {
    lines.push(...linesOf(text));
    for (const look of [...waiting]) look();
  });
  return {
    pid: child.pid ?? 0,
    lines,
    until: (accepts) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const line = lines.find((one) => accepts(one, lines));
          if (line === undefined) return;
          waiting.delete(look);
          resolve(line);
        };
        waiting.add(look);
        ended.then(() => reject(new Error(`${program} ended: ${JSON.stringify(lines.slice(-3))}`)));
        look();
      }),
    async stop() {
      const traced = program === 'strace' ? childOf(child.pid ?? 0) : null;
      if (traced === null) child.kill();
      else sendSignal(traced, 'SIGTERM');
      await ended;
    },
  };
}

/** @returns null once it has none */
function childOf(pid: number): number | null {
  try {
    const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    return Number(child) || null;
  } catch {
    return null;
  }
}

/**
 * The command with a copy of its program of its own: what a process shares with another that runs the same file is
 * counted half (PSS), and on a device nothing else runs it.
 */
export function withOwnProgram([program = '', ...args]: readonly string[], folder: string): string[] {
  const copy = join(folder, 'program');
  if (!existsSync(copy)) copyFileSync(program, copy);
  chmodSync(copy, 0o755);
  return [copy, ...args];
}

/** Proportional set size and resident set, bytes. */
export interface Memory {
  readonly pss: number;
  readonly rss: number;
}

export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const field = (name: string) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]);
  return { pss: field('Pss'), rss: field('Rss') };
}

/** How often each thread of a process gave up the processor by itself, which it does before each wake-up. */
export type Sleeps = ReadonlyMap<string, number>;

export function sleepsOf(pid: number): Sleeps {
  return new Map(
    readdirSync(`/proc/${pid}/task`).map((thread) => {
      const text = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
      return [thread, Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(text)?.[1])];
    }),
  );
}

/** Wake-ups from one look to the next; a thread that ended meanwhile takes its own along. */
export function wakeUpsBetween(before: Sleeps, after: Sleeps): number {
  return [...after].reduce((sum, [thread, sleeps]) => sum + sleeps - (before.get(thread) ?? 0), 0);
}

/** TCP connections of a process that are established. */
export function connectionsOf(pid: number): number {
  const sockets = new Set(
    ['tcp', 'tcp6'].flatMap((kind) =>
      readFileSync(`/proc/${pid}/net/${kind}`, 'utf8')
        .split('\n')
        .slice(1)
        .map((line) => line.trim().split(/\s+/))
        .filter(([, , , state]) => state === '01')
        .map((fields) => fields[9]),
    ),
  );
  return readdirSync(`/proc/${pid}/fd`).filter((descriptor) =>
    sockets.has(/^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${descriptor}`))?.[1] ?? ''),
  ).length;
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
