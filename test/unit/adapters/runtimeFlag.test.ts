import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { setRuntimeFlag } from '../../../src/adapters/runtimeFlag.ts';

const folder = mkdtempSync(join(tmpdir(), 'runtime-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('a flag is written and removed', () => {
  setRuntimeFlag(folder, 'renewed', true);
  expect(existsSync(join(folder, 'renewed'))).toBe(true);
  setRuntimeFlag(folder, 'renewed', false);
  expect(existsSync(join(folder, 'renewed'))).toBe(false);
});

test('a link in the place of a flag empties nothing', () => {
  const target = join(folder, 'target');
  writeFileSync(target, 'precious');
  symlinkSync(target, join(folder, 'unregistered'));
  setRuntimeFlag(folder, 'unregistered', true);
  expect(readFileSync(target, 'utf8')).toBe('precious');
});
