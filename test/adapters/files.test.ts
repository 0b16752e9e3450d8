import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Disk, openStateDirectory, writeDurably } from '../../src/adapters/files.ts';

const folder = () => fs.mkdtempSync(join(tmpdir(), 'files-'));

/** The real disk, which notes the calls and lets a test spoil one. */
function watched(spoil: Partial<Disk> = {}): { disk: Disk; calls: string[] } {
  const calls: string[] = [];
  const names = ['openSync', 'writeSync', 'fsyncSync', 'closeSync', 'renameSync'] as const;
  const noted = Object.fromEntries(
    names.map((name) => [
      name,
      (...args: unknown[]) => {
        calls.push(name);
        return ((spoil[name] ?? fs[name]) as (...args: unknown[]) => unknown)(...args);
      },
    ]),
  );
  return { disk: { ...fs, ...noted } as Disk, calls };
}

test('a write is synced before the rename, and the folder after it', () => {
  const { disk, calls } = watched();
  writeDurably(join(folder(), 'a'), 'text', 0o600, disk);
  expect(calls).toEqual([
    ...['openSync', 'writeSync', 'fsyncSync', 'closeSync'],
    'renameSync',
    ...['openSync', 'fsyncSync', 'closeSync'],
  ]);
});

test('a disk that takes one byte at a time gets them all', () => {
  const path = join(folder(), 'a');
  const { disk } = watched({
    writeSync: ((file: number, bytes: Buffer, at: number) =>
      fs.writeSync(file, bytes, at, 1)) as Disk['writeSync'],
  });
  writeDurably(path, 'whole', 0o600, disk);
  expect(fs.readFileSync(path, 'utf8')).toBe('whole');
});

test.each([
  'writeSync',
  'fsyncSync',
  'renameSync',
] as const)('where %s fails the old file stands and nothing is left behind', (name) => {
  const place = folder();
  const path = join(place, 'a');
  fs.writeFileSync(path, 'old');
  const fail = () => {
    throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
  };
  const { disk } = watched({ [name]: fail });
  expect(() => writeDurably(path, 'new', 0o600, disk)).toThrow(/cannot write .*ENOSPC/);
  expect(fs.readFileSync(path, 'utf8')).toBe('old');
  expect(fs.readdirSync(place)).toEqual(['a']);
});

test('a file that cannot be read is an error, never taken for an absent one', () => {
  const place = folder();
  fs.mkdirSync(join(place, 'identity.key'));
  const directory = openStateDirectory(place);
  expect(directory.read('absent')).toBeNull();
  expect(() => directory.read('identity.key')).toThrow(/cannot read/);
});
