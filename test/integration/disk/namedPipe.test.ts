import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readOwn, stageRefresh } from '../../../src/adapters/disk/durableFile.ts';
import { replacePublicFile } from '../../../src/adapters/publicFile.ts';

const folders: string[] = [];

function folder(): string {
  const made = fs.mkdtempSync(join(tmpdir(), 'files-'));
  folders.push(made);
  return made;
}

afterAll(() => {
  for (const made of folders) fs.rmSync(made, { recursive: true });
});

test('a pipe in the place of a file is an error at once, never waited for, and never replaced', () => {
  const path = join(folder(), 'state.json');
  expect(spawnSync('mkfifo', [path]).status).toBe(0);
  expect(() => readOwn(path)).toThrow(/not a regular file/);
  expect(() => stageRefresh(path, 'text', 0o600)).toThrow(/not a regular file/);
  expect(fs.lstatSync(path).isFIFO()).toBe(true);
});

test('a pipe at the name of the temporary file of the metrics is removed, and never waited for', () => {
  const path = join(folder(), 'onboardd.prom');
  expect(spawnSync('mkfifo', [`${path}.tmp`]).status).toBe(0);
  replacePublicFile(path, 'text');
  expect(fs.readFileSync(path, 'utf8')).toBe('text');
  expect(fs.existsSync(`${path}.tmp`)).toBe(false);
});
