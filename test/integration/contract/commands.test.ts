import { expect, test } from 'vitest';
import { commandsOfProgram } from '../../../packaging/commands.ts';
import { rowsOf, section } from '../../support/contractPage.ts';
import { runToEnd } from '../../support/program.ts';

test('the page names every command with every option, and no others', () => {
  const rows = rowsOf(section('Command line')).map(([usage = '']) => usage);
  const described = new Map<string, Set<string>>();
  for (const [, name = '', rest = ''] of rows.flatMap((row) => [
    ...row.matchAll(/`onboardd (\w+)([^`]*)`/g),
  ])) {
    const options = [...rest.matchAll(/--[a-z-]+/g)].map(([option]) => option);
    described.set(name, new Set([...(described.get(name) ?? []), ...options]));
  }
  // The page names these once, for all commands that take them.
  const common = ['--config', '--env-file', '--agent-config', '--state-dir'];
  const actual = commandsOfProgram().map(({ usage, options }) => {
    const own = options.flatMap(({ names }) => names).filter((option) => !common.includes(option));
    return [usage.split(' ')[0] ?? '', new Set(own)] as const;
  });
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
