import { test } from 'vitest';
import { fleetLines } from './fleetLogs.ts';
import { checkLine } from './program.ts';

test('made-up logs are lines of the catalogue', () => {
  for (const text of fleetLines(20, 1)) checkLine(JSON.parse(text));
});
