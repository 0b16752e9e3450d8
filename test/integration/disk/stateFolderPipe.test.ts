import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { refusalOf } from '../../../src/adapters/disk/stateFolder.ts';
import { isOwnFile, provesState } from '../../../src/services/state/ownFiles.ts';

let place = '';

function folder(mode = 0o755, names: readonly string[] = []): string {
  place = mkdtempSync(join(tmpdir(), 'state-'));
  for (const name of names) writeFileSync(join(place, name), '');
  chmodSync(place, mode);
  return place;
}

afterEach(() => {
  if (place !== '') rmSync(place, { recursive: true });
  place = '';
});

const own = { isOwn: isOwnFile, provesState };
const refusal = (path: string, given: readonly string[] = []) => refusalOf(path, own, undefined, given);

/** Puts files with content into the folder. */
function holding(contents: Readonly<Record<string, string>>, mode = 0o755): string {
  folder(mode);
  for (const [name, text] of Object.entries(contents)) writeFileSync(join(place, name), text);
  return place;
}

const state = '{\n  "version": 1,\n  "deviceId": "d1",';

test('what a link, a pipe or a folder with the name of a state leads to proves nothing', () => {
  const target = join(holding({ 'server.py': '', other: state }), 'other');
  const path = join(place, 'state.json');
  symlinkSync(target, path);
  expect(refusal(place)).toMatch(/holds other files/);
  rmSync(path);
  expect(spawnSync('mkfifo', [path]).status).toBe(0);
  expect(refusal(place)).toMatch(/holds other files/);
  rmSync(path);
  mkdirSync(path);
  expect(refusal(place)).toMatch(/holds other files/);
});
