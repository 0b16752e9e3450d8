import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { beginningOfState, refusal, stateFolders } from '../../support/stateFolders.ts';

const folders = stateFolders();
const { holding } = folders;
afterEach(folders.remove);

test('what a link, a pipe or a folder with the name of a state leads to proves nothing', () => {
  const target = join(holding({ 'server.py': '', other: beginningOfState }), 'other');
  const path = join(folders.place(), 'state.json');
  symlinkSync(target, path);
  expect(refusal(folders.place())).toMatch(/holds other files/);
  rmSync(path);
  expect(spawnSync('mkfifo', [path]).status).toBe(0);
  expect(refusal(folders.place())).toMatch(/holds other files/);
  rmSync(path);
  mkdirSync(path);
  expect(refusal(folders.place())).toMatch(/holds other files/);
});
