import { expect, test } from 'vitest';
import { commandsOfProgram, optionsOfProgram } from '../../../packaging/commands.ts';

const commands = commandsOfProgram();
const named = (name: string) => commands.find((command) => command.name === name);

test('what a command does is told whole, however many lines its help takes', () => {
  expect(commands.map(({ name }) => name)).toEqual([
    'run',
    'status',
    'wait',
    'check',
    'bundle',
    'reset',
    'report',
    'explain',
  ]);
  expect(named('status')?.does).toBe('show what the device is doing, whether or not the daemon runs');
  expect(named('reset')?.does).toBe('forget the identity, for a golden image or a device that is handed on');
});

test('a command has the options that its own help lists, with what they take and do', () => {
  expect(named('report')?.options.map(({ names, value }) => [...names, value])).toEqual([
    ['--html', '<file>'],
    ['--json', null],
    ['--since', '<time>'],
    ['--device', '<id>'],
    ['--compare', '<periods>'],
    ['--stuck-after', '<minutes>'],
    ['--threads', '<number>'],
    ['--follow', null],
  ]);
  expect(named('wait')?.options.at(-1)).toEqual({
    names: ['--ignore-failed'],
    value: null,
    does: 'go on waiting in failed, too: the daemon tries again by itself',
  });
  expect(named('explain')?.arguments).toEqual([
    {
      names: ['names'],
      value: null,
      does: 'error codes, reasons, events or message ids; none to list them',
    },
  ]);
});

test('the program itself has its version and its help among its options', () => {
  const names = optionsOfProgram().map((option) => option.names.at(-1));
  expect(names).toEqual(['--config', '--env-file', '--agent-config', '--state-dir', '--version', '--help']);
});
