import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { files } from '../../../src/services/state/deviceState.ts';
import { type Device, programFile } from '../program.ts';

if (spawnSync('strace', ['-V']).status !== 0)
  throw new Error('strace is missing: npm test fetches it, or install it');

/** Calls that change the state directory. */
export const diskCalls = [
  'mkdir',
  'openat',
  'write',
  'fchmod',
  'fsync',
  'close',
  'rename',
  'unlink',
] as const;
/** Calls that change the wire, or make its descriptors. */
export const wireCalls = ['socket', 'connect', 'write', 'writev', 'sendto', 'shutdown'] as const;

/** Every path of the state directory, its temporary files too: what `-P` selects. */
export function statePaths({ stateDir }: Device): string[] {
  const names = Object.values(files);
  return [stateDir, ...names.flatMap((name) => [join(stateDir, name), join(stateDir, `.${name}.tmp`)])];
}

/** Where a call is spoiled: the n-th of its kind, on the state directory alone or anywhere. */
export interface Spot {
  readonly call: string;
  readonly number: number;
  readonly on: 'disk' | 'anything';
}

/** @param what strace's own words, such as `signal=SIGKILL` or `error=EIO` */
export function spoiling(
  device: Device,
  { call, number, on }: Spot,
  what: string,
  trace = '/dev/null',
): string[] {
  const paths = on === 'disk' ? statePaths(device).flatMap((path) => ['-P', path]) : [];
  const when = `inject=${call}:${what}:when=${number}`;
  return ['-f', '-qq', '-o', trace, ...paths, '-e', `trace=${call}`, '-e', when];
}

/** The program to its end, under strace where there are arguments for it. @returns exit status, null where killed */
export function runProgram(device: Device, straceArgs: string[] = []): Promise<number | null> {
  const child = spawnProgram(device, straceArgs, ['--once'], 'ignore');
  return new Promise((resolve) => child.once('exit', resolve));
}

export function spawnProgram(
  device: Device,
  straceArgs: string[],
  args: string[],
  stdout: 'ignore' | 'pipe',
): ChildProcess {
  const program = [
    process.execPath,
    programFile,
    'run',
    ...args,
    ...(device.args ?? []),
    '--config',
    device.configFile,
  ];
  const [command = '', ...rest] = straceArgs.length > 0 ? ['strace', ...straceArgs, ...program] : program;
  return spawn(command, rest, { stdio: ['ignore', stdout, 'ignore'] });
}

/** One call of a trace. */
export interface Call {
  /** seconds since 1970 */
  readonly at: number;
  readonly thread: number;
  readonly name: string;
  /** As strace writes them; texts in hex */
  readonly args: string;
  /** -1 where it failed */
  readonly result: number;
}

/** Arguments that make strace write a trace that `readTrace` reads. */
export function tracing(file: string): string[] {
  const calls = [
    ...new Set([...diskCalls, ...wireCalls]),
    ...['mkdirat', 'open', 'creat', 'pwrite64', 'pwritev', 'ftruncate', 'chmod', 'fchmodat', 'fdatasync'],
    ...['renameat', 'renameat2', 'link', 'linkat', 'symlink', 'unlinkat', 'rmdir', 'sendmsg', 'sendmmsg'],
    ...['io_uring_enter', 'copy_file_range', 'sendfile', 'flock', 'truncate', 'accept4', 'execve'],
  ];
  // -y names each descriptor, -xx writes texts in hex, whole.
  return ['-f', '-qq', '-ttt', '-y', '-xx', '-s', '1000000', '-o', file, '-e', `trace=${calls.join(',')}`];
}

const whole = /^(\d+)\s+(\d+\.\d+) (\w+)\((.*)\)\s+= (-?\d+|\?).*$/s;
const begun = /^(\d+)\s+(\d+\.\d+) (\w+)\((.*) <unfinished \.\.\.>$/s;
const resumed = /^(\d+)\s+(\d+\.\d+) <\.\.\. (\w+) resumed>(.*)\)\s+= (-?\d+|\?).*$/s;

/** The calls in the order in which they returned. */
export function readTrace(file: string): Call[] {
  const open = new Map<string, { at: number; args: string }>();
  return readFileSync(file, 'latin1')
    .split('\n')
    .flatMap((line) => {
      const start = begun.exec(line);
      if (start) {
        const [, thread, at, , args = ''] = start;
        open.set(thread ?? '', { at: Number(at), args });
        return [];
      }
      const end = resumed.exec(line);
      const [, thread = '', at, name = '', rest = '', result] = end ?? whole.exec(line) ?? [];
      if (name === '') return [];
      const args = end ? `${open.get(thread)?.args ?? ''}${rest}` : rest;
      const number = result === '?' ? -1 : Number(result);
      return [{ at: Number(at), thread: Number(thread), name, args, result: number }];
    });
}

/** The texts among a call's arguments, as bytes. */
export function textsOf({ args }: Call): Buffer[] {
  return [...args.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(([, hex = '']) =>
    Buffer.from(hex.replaceAll('\\x', ''), 'hex'),
  );
}

/** What the call's descriptor is: a path, or `TCP:[…]` and the like. */
export function descriptorOf({ args }: Call): string {
  const [, name = ''] = /^\d+<([^>]*)>/.exec(args) ?? [];
  return name.replace(/\\x([0-9a-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
}
