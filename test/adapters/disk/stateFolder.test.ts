import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { isStateFile, refusalOf } from '../../../src/adapters/disk/stateFolder.ts';
import { isOwnFile } from '../../../src/services/state/ownFiles.ts';

let place = '';
const isRoot = process.geteuid?.() === 0;

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

const refusal = (path: string, given: readonly string[] = []) => refusalOf(path, isOwnFile, undefined, given);

test.each([
  ['is not there', () => join(folder(), 'absent')],
  ['would be below a file', () => join(folder(0o755, ['file']), 'file/state')],
  [
    'is a link to what is not there yet',
    () => {
      symlinkSync('absent', join(folder(), 'link'));
      return join(place, 'link');
    },
  ],
  ['is empty', () => folder()],
  ['holds a state and other things', () => folder(0o755, ['state.json', 'notes.txt'])],
  ['holds a state and is open to everybody', () => folder(0o777, ['state.json'])],
])('a folder that %s may become the state directory, or stays it', (_, make) => {
  expect(refusal(make())).toBeNull();
});

test.each([
  '/proc',
  '/proc/onboardd/state',
  '/sys/onboardd',
  '/dev/onboardd',
  '/dev/../proc/onboardd',
])('nothing is made below the kernel’s %s', (path) =>
  expect(refusal(path)).toMatch(/lies below \/(proc|sys|dev)/));

test('nor through a link', () => {
  symlinkSync('/proc', join(folder(), 'link'));
  expect(refusal(join(place, 'link/onboardd'))).toMatch(/lies below \/proc/);
});

test.each([
  '/',
  '/etc',
  '/tmp',
  '/mnt',
  '/srv',
  '/var/lib',
  '/usr/local',
])('the system’s own %s is refused, empty or not', (path) =>
  expect(refusal(path)).toMatch(/holds other things|is a folder of the system|open to everybody/));

test('an empty folder is refused while it is open to everybody', () => {
  expect(refusal(folder(0o777))).toMatch(/open to everybody \(mode 777\)/);
  chmodSync(place, 0o1777);
  expect(refusal(place)).toMatch(/mode 1777/);
});

test.runIf(isRoot)('a state that anybody could have put there makes no state directory', () => {
  folder(0o777, ['state.json']);
  chownSync(join(place, 'state.json'), 12345, 12345);
  expect(refusal(place)).toMatch(/holds other things/);
  chownSync(place, 12345, 12345);
  expect(refusal(place)).toBeNull();
});

test('what the service manager made is taken with other things in it only while it is the service’s alone', () => {
  folder(0o700, ['.bash_history']);
  expect(refusal(place)).toMatch(/holds other things \(\.bash_history\)/);
  expect(refusal(place, [place])).toBeNull();
  chmodSync(place, 0o755);
  expect(refusal(place, [place])).toMatch(/holds other things/);
});

test('a path to a file of the state directory is known through folders and links', () => {
  folder();
  const state = join(place, 'state');
  mkdirSync(join(state, 'sub'), { recursive: true });
  symlinkSync('state', join(place, 'link'));
  writeFileSync(join(state, 'identity.key'), '');
  symlinkSync('state/identity.key', join(place, 'file'));
  const leadsThere = (path: string, from = state) => isStateFile(join(place, path), from, isOwnFile);
  for (const path of ['state/identity.key', 'link/state.json', 'state/sub/../identity.crt', 'file'])
    expect(leadsThere(path), path).toBe(true);
  expect(leadsThere('state/state.json', join(place, 'link'))).toBe(true);
  for (const path of ['state/token', 'identity.key', 'state/sub/identity.key'])
    expect(leadsThere(path), path).toBe(false);
});
