import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { CommandHelp } from './manual.ts';
import { root } from './tools.mjs';

/** The commands of the built program, as its own help tells them. */
export function commandsOfProgram(): CommandHelp[] {
  const listed = section(help([]), 'Commands:');
  return listed
    .map((line) => /^ {2}(\S+.*?)(?: {2,}(.*))?$/.exec(line))
    .flatMap((match) => (match?.[1] && !match[1].startsWith('help') ? [[match[1], match[2] ?? '']] : []))
    .map(([usage = '', does = '']) => {
      const own = section(help([usage.split(' ')[0] ?? '']), 'Options:');
      const options = own.flatMap((line) => /^ {2}(?:-\w, )?(--[a-z-]+)/.exec(line)?.[1] ?? []);
      const common = ['--config', '--env-file', '--agent-config', '--state-dir', '--help'];
      return { usage, does, options: options.filter((name) => !common.includes(name)) };
    });
}

function help(args: string[]): string[] {
  const env = { ...process.env, COLUMNS: '400' };
  return execFileSync(process.execPath, [join(root, 'dist/onboardd.cjs'), ...args, '--help'], {
    encoding: 'utf8',
    env,
  }).split('\n');
}

function section(lines: readonly string[], title: string): string[] {
  const from = lines.indexOf(title) + 1;
  const length = lines.slice(from).indexOf('');
  return from === 0 ? [] : lines.slice(from, length === -1 ? undefined : from + length);
}
