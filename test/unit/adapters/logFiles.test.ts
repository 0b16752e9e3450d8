import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sizeOf } from '../../../src/adapters/logFiles.ts';

test('standard input has no size, though a file of the name - lies in the folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'logs-'));
  const before = process.cwd();
  try {
    writeFileSync(join(folder, '-'), 'four');
    writeFileSync(join(folder, 'a.log'), 'seven..');
    process.chdir(folder);
    expect(sizeOf(['-'])).toBeNull();
    expect(sizeOf(['a.log'])).toBe(7);
    expect(sizeOf(['a.log', 'none.log'])).toBeNull();
    expect(sizeOf(['a.log/below'])).toBeNull();
  } finally {
    process.chdir(before);
    rmSync(folder, { recursive: true });
  }
});
