import { expect, test } from 'vitest';
import { commandsOfProgram } from '../../../packaging/commands.ts';

test('what a command does is told whole, however many lines its help takes', () => {
  const does = Object.fromEntries(commandsOfProgram().map(({ usage, does }) => [usage.split(' ')[0], does]));
  expect(Object.keys(does)).toEqual([
    'run',
    'status',
    'wait',
    'check',
    'bundle',
    'reset',
    'report',
    'explain',
  ]);
  expect(does.status).toBe('show what the device is doing, whether or not the daemon runs');
  expect(does.reset).toBe('forget the identity, for a golden image or a device that is handed on');
});

test('a command has the options that its own help lists', () => {
  const options = Object.fromEntries(commandsOfProgram().map(({ usage, options }) => [usage, options]));
  expect(options['report [options] [files...]']).toEqual(['--html', '--stuck-after']);
  expect(options['run [options]']).toEqual([
    '--config',
    '--env-file',
    '--agent-config',
    '--state-dir',
    '--once',
  ]);
});
