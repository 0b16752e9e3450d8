import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { createJournal, type Journal } from './journal.ts';

const fatalSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const living = new Set<ChildProcess>();
let guarded = false;
const mostLines = 10_000;
let leash: string[] | undefined;

export interface Child {
  pid: number;
  /** what it wrote on stderr, a line an entry */
  lines: Journal<string>;
  /** resolves once it has ended, with what ended it */
  ended: Promise<string>;
  signal(signal: NodeJS.Signals): void;
}

/**
 * Starts a program that ends with this process: at its exit, at a signal that ends it and, where the system has
 * `setpriv`, also when it is killed.
 *
 * @throws {Error} where the program cannot be started
 */
export async function startChild(program: string, args: string[]): Promise<Child> {
  guard();
  const [first = program, ...rest] = [...endsWithParent(), program, ...args];
  const child = spawn(first, rest, { stdio: ['ignore', 'ignore', 'pipe'] });
  living.add(child);
  const lines = createJournal<string>(`lines of ${program}`, mostLines);
  const ended = new Promise<string>((resolve) => {
    child.once('close', (code, signal) => {
      living.delete(child);
      resolve(signal ?? `exit status ${code}`);
    });
  });
  await new Promise((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  createInterface({ input: child.stderr }).on('line', (line) => lines.add(line));
  return { pid: child.pid ?? 0, lines, ended, signal: (signal) => child.kill(signal) };
}

function endsWithParent(): string[] {
  const command = ['setpriv', '--pdeathsig', 'KILL'];
  leash ??= spawnSync('setpriv', [...command.slice(1), 'true']).status === 0 ? command : [];
  return leash;
}

function guard(): void {
  if (guarded) return;
  guarded = true;
  process.on('exit', killAll);
  for (const signal of fatalSignals) process.on(signal, endOfProcess);
}

function killAll(): void {
  for (const child of living) child.kill('SIGKILL');
}

/** Does what the signal does without a listener, unless somebody else listens: then that one decides. */
function endOfProcess(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  killAll();
  process.off(signal, endOfProcess);
  process.kill(process.pid, signal);
}
