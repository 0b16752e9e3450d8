import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockDirectory } from '../../../src/adapters/disk/lock.ts';
import { isLocked, lockedByProcess } from '../../../src/adapters/disk/lockStatus.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'holder-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('a lock is seen while it is held, by the list of locks and by the open files, and is not touched', () => {
  expect(isLocked(folder)).toBe(false);
  const unlock = lockDirectory(folder);
  expect(isLocked(folder)).toBe(true);
  expect(lockedByProcess(folder).held).toBe(true);
  expect(() => lockDirectory(folder)).toThrow('another onboardd');
  unlock();
  expect(isLocked(folder)).not.toBe(true);
  expect(lockedByProcess(folder).held).toBe(false);
});
