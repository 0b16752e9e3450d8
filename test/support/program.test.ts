import { expect, test } from 'vitest';
import { checkLine } from './program.ts';

test('a line that the catalogue does not know is refused', () => {
  const good = {
    timestamp: '2026-11-24T00:00:00.000Z',
    level: 'info',
    event: 'daemon.stopped',
    message: 'x',
    version: '1.0.0',
    runId: '0'.repeat(32),
    signal: null,
  };
  checkLine(good);
  for (const bad of [
    { ...good, event: 'daemon.melted' },
    { ...good, signal: 5 },
    { ...good, extra: 1 },
    { ...good, level: 'warn' },
    { ...good, runId: undefined },
  ])
    expect(() => checkLine(bad)).toThrow('not in the catalogue');
});
