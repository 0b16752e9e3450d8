import { expect, test } from 'vitest';
import { checkLine } from './program.ts';

test('a line that the catalogue does not know is refused', () => {
  const good = {
    timestamp: '2026-11-24T00:00:00.000Z',
    level: 'info',
    event: 'daemon.stopped',
    message: 'x',
    signal: null,
  };
  checkLine(good);
  for (const bad of [
    { ...good, event: 'daemon.melted' },
    { ...good, signal: 5 },
    { ...good, extra: 1 },
    { ...good, level: 'warn' },
  ])
    expect(() => checkLine(bad)).toThrow('not in the catalogue');
});
