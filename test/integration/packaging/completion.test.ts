import { expect, test } from 'vitest';
import type { CommandHelp } from '../../../packaging/commands.ts';
import { bashCompletion, fishCompletion, zshCompletion } from '../../../packaging/completion.ts';

const option = (name: string, value: string | null = null) => ({
  names: [name],
  value,
  does: 'what it does',
});
const command = (name: string, options: CommandHelp['options'], operand?: string): CommandHelp => ({
  name,
  usage: name,
  does: 'what it does',
  options,
  arguments: operand === undefined ? [] : [option(operand)],
});
const commands = [
  command('run', [option('--config', '<file>'), option('--state-dir', '<dir>'), option('--once')]),
  command('report', [option('--html', '<file>'), option('--since', '<time>')], 'files'),
  command('explain', [], 'names'),
];
const lineOf = (script: string, name: string) =>
  script.split('\n').find((line) => line.includes(`\t${name}) `));

test.each([
  ['run', ['--config', '--state-dir', '--once', '--help']],
  ['report', ['--html', '--since', '--help']],
  ['explain', ['--help']],
])('bash offers behind %s the options that it takes: %s', (name, options) => {
  const words = /words="(.*)"/.exec(lineOf(bashCompletion(commands), name) ?? '')?.[1];
  expect(words?.split(' ')).toEqual(options);
});

test.each([
  ['run', true],
  ['report', false],
  ['explain', false],
])('zsh offers the options of the configuration behind %s: %s', (name, expected) => {
  const line = lineOf(zshCompletion(commands), name);
  expect(line).toContain("'--help[");
  for (const name of ['--config', '--state-dir']) expect(line?.includes(`'${name}[`)).toBe(expected);
});

test('each shell completes the names that explain knows', () => {
  for (const script of [bashCompletion(commands), zshCompletion(commands), fishCompletion(commands)])
    for (const name of ['CONFIG_INVALID', 'tls-expired', 'device.registered']) expect(script).toContain(name);
});

test('an option whose values nobody has said ends the build', () => {
  const strange = [command('run', [option('--strange', '<thing>')])];
  for (const make of [bashCompletion, zshCompletion, fishCompletion])
    expect(() => make(strange)).toThrow('does not say what --strange takes');
});
