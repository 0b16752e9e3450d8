import fs, { chmodSync, chownSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { isStateFile, refusalOf } from '../../../../src/adapters/disk/stateFolder.ts';
import { isOwnFile } from '../../../../src/services/state/ownFiles.ts';
import { beginningOfState, ownFiles, refusal, stateFolders } from '../../../support/stateFolders.ts';

const isRoot = process.geteuid?.() === 0;
const folders = stateFolders();
const { folder, holding } = folders;
afterEach(folders.remove);
const key = (kind = '') => `-----BEGIN ${kind}PRIVATE KEY-----\nMIG`;

test.each([
  ['is not there', () => join(folder(), 'absent')],
  [
    'is a link to what is not there yet',
    () => {
      symlinkSync('absent', join(folder(), 'link'));
      return join(folders.place(), 'link');
    },
  ],
  ['is empty', () => folder()],
  ['holds a state and other things', () => holding({ 'state.json': beginningOfState, 'notes.txt': '' })],
  [
    'holds a state that was set aside',
    () => holding({ 'state.json.damaged-2': beginningOfState, 'notes.txt': '' }),
  ],
  ['holds a state half written', () => holding({ '.state.json.tmp': beginningOfState, 'notes.txt': '' })],
  ['holds a key', () => holding({ 'identity.key': key(), 'notes.txt': '' })],
  ['holds a key of another kind', () => holding({ 'identity.key': key('EC '), 'notes.txt': '' })],
  ['holds a device id', () => holding({ 'device_id.txt': 'device-1\n', 'notes.txt': '' })],
  [
    'holds nothing but damaged files',
    () => holding({ 'state.json': '', 'identity.key': '{', 'lost+found': '' }),
  ],
  ['holds a state and is open to everybody', () => folder(0o777, ['state.json'])],
])('a folder that %s may become the state directory, or stays it', (_, make) => {
  expect(refusal(make())).toBeNull();
});

test.each<[string, Readonly<Record<string, string>>]>([
  ['a state of its own', { 'state.json': '{"users":["bob"]}' }],
  ['an empty file called state.json', { 'state.json': '' }],
  ['a registration', { 'registration.json': beginningOfState }],
  ['a key that is none', { 'identity.key': 'deviceId' }],
  ['a certificate called identity.key', { 'identity.key': '-----BEGIN CERTIFICATE-----' }],
  ['a device id among other lines', { 'device_id.txt': 'device-1\nserial 7\n' }],
])('a folder of another program with %s is not taken for its names', (_, contents) => {
  expect(refusal(holding({ 'server.py': '', ...contents }))).toMatch(/holds other files \(/);
});

test('what a link or a folder with the name of a state leads to proves nothing', () => {
  const target = join(holding({ 'server.py': '', other: beginningOfState }), 'other');
  const path = join(folders.place(), 'state.json');
  symlinkSync(target, path);
  expect(refusal(folders.place())).toMatch(/holds other files/);
  rmSync(path);
  mkdirSync(path);
  expect(refusal(folders.place())).toMatch(/holds other files/);
});

test('a folder with other things of which the state cannot be read for the disk is not judged', () => {
  holding({ 'server.py': '', 'state.json': beginningOfState });
  const failing = () => {
    throw Object.assign(new Error('EIO'), { code: 'EIO' });
  };
  expect(refusalOf(folders.place(), ownFiles, { ...fs, readSync: failing })).toBeNull();
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
  expect(refusal(join(folders.place(), 'link/onboardd'))).toMatch(/lies below \/proc/);
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
  expect(refusal(path)).toMatch(/holds other files|is a system directory|open to everybody/));

test('nothing is waited for below a file', () => {
  for (const path of ['file/state', 'file/more/state'])
    expect(refusal(join(folder(0o755, ['file']), path))).toBe('has a parent that is not a directory');
});

test('an empty folder is refused while it is open to everybody', () => {
  expect(refusal(folder(0o777))).toMatch(/open to everybody \(mode 777\)/);
  chmodSync(folders.place(), 0o1777);
  expect(refusal(folders.place())).toMatch(/mode 1777/);
});

test.runIf(isRoot)('a state that anybody could have put there makes no state directory', () => {
  folder(0o777, ['state.json']);
  chownSync(join(folders.place(), 'state.json'), 12345, 12345);
  expect(refusal(folders.place())).toMatch(/holds other files/);
  chownSync(folders.place(), 12345, 12345);
  expect(refusal(folders.place())).toBeNull();
});

test('what the service manager made is taken with other things in it only while it is the service’s alone', () => {
  folder(0o700, ['.bash_history']);
  expect(refusal(folders.place())).toMatch(/holds other files \(\.bash_history\)/);
  expect(refusal(folders.place(), [folders.place()])).toBeNull();
  chmodSync(folders.place(), 0o755);
  expect(refusal(folders.place(), [folders.place()])).toMatch(/holds other files/);
});

test('a path to a file of the state directory is known through folders and links', () => {
  folder();
  const within = join(folders.place(), 'state');
  mkdirSync(join(within, 'sub'), { recursive: true });
  symlinkSync('state', join(folders.place(), 'link'));
  writeFileSync(join(within, 'identity.key'), '');
  symlinkSync('state/identity.key', join(folders.place(), 'file'));
  const leadsThere = (path: string, from = within) =>
    isStateFile(join(folders.place(), path), from, isOwnFile);
  for (const path of ['state/identity.key', 'link/state.json', 'state/sub/../identity.crt', 'file'])
    expect(leadsThere(path), path).toBe(true);
  expect(leadsThere('state/state.json', join(folders.place(), 'link'))).toBe(true);
  for (const path of ['state/token', 'identity.key', 'state/sub/identity.key'])
    expect(leadsThere(path), path).toBe(false);
});
