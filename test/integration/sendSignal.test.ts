import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { sendSignal } from '../support/sendSignal.ts';

test('a signal reaches a process, and one that has ended is no failure', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  await once(child, 'spawn');
  const ended = once(child, 'exit');
  expect(sendSignal(child.pid ?? 0, 'SIGKILL')).toBe(true);
  expect(await ended).toEqual([null, 'SIGKILL']);
  expect(sendSignal(child.pid ?? 0, 'SIGKILL')).toBe(false);
});

test.each([0, 1, -1, Number.NaN])('%s, which would be others’ processes, is refused', (pid) => {
  expect(() => sendSignal(pid, 'SIGCONT')).toThrow('no process id');
});
