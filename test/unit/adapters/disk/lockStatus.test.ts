import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isLocked, ownerOf } from '../../../../src/adapters/disk/lockStatus.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'holder-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('a directory that is not there is held by nobody', () => {
  expect(isLocked(join(folder, 'none'))).toBe(false);
  expect(ownerOf(join(folder, 'none'))).toBeNull();
});
