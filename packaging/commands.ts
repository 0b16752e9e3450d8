import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './tools.mjs';

/** An option, or an argument, in the words of the program's own help. */
export interface OptionHelp {
  /** `--config`, `-V, --version`, or the name of an argument */
  readonly names: readonly string[];
  /** What it takes, as `<file>`; null for a flag */
  readonly value: string | null;
  readonly does: string;
}

/** A command, in the words of its own help. */
export interface CommandHelp {
  readonly name: string;
  /** `report [options] [files...]` */
  readonly usage: string;
  readonly does: string;
  /** All that it takes but `--help`, those of the program included */
  readonly options: readonly OptionHelp[];
  readonly arguments: readonly OptionHelp[];
}

/** The commands of the built program, as its own help tells them. */
export function commandsOfProgram(): CommandHelp[] {
  const listed = section(help([]), 'Commands:');
  return listed
    .map((line) => /^ {2}(\S+.*?)(?: {2,}(.*))?$/.exec(line))
    .flatMap((match) => (match?.[1] && !match[1].startsWith('help') ? [[match[1], match[2] ?? '']] : []))
    .map(([usage = '', does = '']) => {
      const name = usage.split(' ')[0] ?? '';
      const own = help([name]);
      return {
        name,
        usage,
        does,
        options: entries(section(own, 'Options:')).filter(({ names }) => !names.includes('--help')),
        arguments: entries(section(own, 'Arguments:')),
      };
    });
}

/** The options of the program itself, which most commands take, too. */
export function optionsOfProgram(): OptionHelp[] {
  return entries(section(help([]), 'Options:'));
}

/** `  -V, --version  what it does`, `  --since <time>  …`, `  files  …` */
function entries(lines: readonly string[]): OptionHelp[] {
  return lines.flatMap((line) => {
    const [, names, value = null, does] =
      /^ {2}(\S+(?:, \S+)*)(?: ([<[]\S+[>\]]))?(?: {2,}(.*))?$/.exec(line) ?? [];
    return names === undefined ? [] : [{ names: names.split(', '), value, does: does ?? '' }];
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
