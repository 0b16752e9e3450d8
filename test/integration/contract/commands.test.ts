import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { commandsOfProgram } from '../../../packaging/commands.ts';
import { runToEnd } from '../../support/program.ts';

const page = readFileSync(new URL('../../../docs/contract.md', import.meta.url), 'utf8');

/** Text of a section, from its heading to the next. */
function section(title: string): string {
  const [, rest = ''] = page.split(`\n## ${title}\n`);
  return rest.split('\n## ')[0] ?? '';
}

/** Rows of all tables of a text, without their heads. */
function rowsOf(text: string): string[][] {
  return text
    .split('\n')
    .filter(
      (line, index, all) =>
        line.startsWith('|') && !/^\| ?-/.test(line) && !/^\| ?-/.test(all[index + 1] ?? ''),
    )
    .map((line) => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '')));
}

test('the page names every command with every option, and no others', () => {
  const rows = rowsOf(section('Command line')).map(([usage = '']) => usage);
  const described = new Map<string, Set<string>>();
  for (const [, name = '', rest = ''] of rows.flatMap((row) => [
    ...row.matchAll(/`onboardd (\w+)([^`]*)`/g),
  ])) {
    const options = [...rest.matchAll(/--[a-z-]+/g)].map(([option]) => option);
    described.set(name, new Set([...(described.get(name) ?? []), ...options]));
  }
  const actual = commandsOfProgram().map(
    ({ usage, options }) => [usage.split(' ')[0] ?? '', new Set(options)] as const,
  );
  expect(described).toEqual(new Map(actual));
});

test('commands end with the statuses of the page', () => {
  expect(runToEnd(['explain', 'NO_SUCH_CODE']).status).toBe(64);
  expect(runToEnd(['report', '/nonexistent']).status).toBe(1);
  expect(runToEnd(['--version']).status).toBe(0);
  expect(runToEnd(['run', '--no-such-option']).status).toBe(64);
  const nowhere = ['--state-dir', '/nonexistent/state', '--config', '/nonexistent/config.json'];
  for (const [command, status] of [
    ['run', 78],
    ['check', 78],
    ['status', 3],
    ['reset', 0],
  ] as const)
    expect(runToEnd([command, ...nowhere]).status, command).toBe(status);
});
