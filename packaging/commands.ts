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
      return { usage, does, options: options.filter((name) => name !== '--help') };
    });
}

function help(args: string[]): string[] {
  const program = join(root, 'dist/onboardd.cjs');
  const text = execFileSync(process.execPath, [program, ...args, '--help'], { encoding: 'utf8' });
  // Without a terminal it has 80 columns: a line that goes on is indented as deep as the descriptions.
  return text.replace(/\n {8,}(?=\S)/g, ' ').split('\n');
}

function section(lines: readonly string[], title: string): string[] {
  const from = lines.indexOf(title) + 1;
  const length = lines.slice(from).indexOf('');
  return from === 0 ? [] : lines.slice(from, length === -1 ? undefined : from + length);
}
