import { expect, test } from 'vitest';
import { bashCompletion, zshCompletion } from '../../../packaging/completion.ts';

const commands = [
  { usage: 'run [options]', does: 'onboards', options: ['--once', '--config', '--env-file', '--state-dir'] },
  { usage: 'report [options] [files...]', does: 'the fleet', options: ['--html', '--stuck-after'] },
  { usage: 'explain [names...]', does: 'a code', options: [] },
];
const lineOf = (script: string, command: string) =>
  script.split('\n').find((line) => line.includes(`\t${command}) `));

test.each([
  ['run', ['--once', '--config', '--env-file', '--state-dir', '--help']],
  ['report', ['--html', '--stuck-after', '--help']],
  ['explain', ['--help']],
])('bash offers behind %s the options that it takes: %s', (command, options) => {
  const words = /words="(.*)"/.exec(lineOf(bashCompletion(commands), command) ?? '')?.[1];
  expect(words?.split(' ')).toEqual(options);
});

test.each([
  ['run', true],
  ['report', false],
  ['explain', false],
])('zsh offers the options of the configuration behind %s: %s', (command, expected) => {
  const line = lineOf(zshCompletion(commands), command);
  expect(line).toContain("'--help'");
  for (const option of ['--config', '--env-file', '--state-dir'])
    expect(line?.includes(`'${option}[`)).toBe(expected);
});
