import { spawn } from 'node:child_process';

/** A line of a log. */
export type Line = Readonly<Record<string, unknown>> & { readonly event: string };

export interface Run {
  /** from before the process is made until it is gone, milliseconds */
  readonly ms: number;
  /** when the process was made, milliseconds since 1970 */
  readonly begun: number;
  readonly lines: readonly Line[];
}

/** Runs a command to its end. @throws {Error} with what it said, where it does not end with 0 */
export async function runToEnd(command: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Run> {
  const [program = '', ...args] = command;
  const begun = Date.now();
  const start = performance.now();
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...environment(), ...env },
  });
  let ms = 0;
  child.once('exit', () => {
    ms = performance.now() - start;
  });
  const texts = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].on('data', (text) => (texts[stream] += text));
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => resolve(status ?? signal));
  });
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}: ${texts.stdout}${texts.stderr}`);
  return { ms, begun, lines: linesOf(texts.stdout) };
}

export function linesOf(text: string): Line[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line);
}

/** What npm and the bench brought is not in a device's environment. */
export function environment(): NodeJS.ProcessEnv {
  const { PATH, HOME, LANG, TMPDIR } = process.env;
  return { PATH, HOME, LANG, TMPDIR };
}
