import fs, {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockDirectory } from '../../../src/adapters/disk/lock.ts';
import { stateDirectory } from '../../../src/adapters/disk/lockedStateDirectory.ts';
import { isLocked } from '../../../src/adapters/disk/lockStatus.ts';

let place = '';
let path = '';
let victim = '';

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'swap-'));
  path = join(place, 'state');
  victim = join(place, 'victim');
  for (const folder of [path, victim]) {
    mkdirSync(folder);
    chmodSync(folder, 0o755);
  }
});

afterEach(() => rmSync(place, { recursive: true }));

/** What somebody who may write in the folder above does. */
function swap(): void {
  renameSync(path, join(place, 'was'));
  symlinkSync(victim, path);
}

function once(call: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) call();
    isDone = true;
  };
}

const refused = expect.objectContaining({ code: 'STATE_UNWRITABLE' });

function expectUntouched(): void {
  expect([statSync(victim).mode & 0o777, readdirSync(victim)]).toEqual([0o755, []]);
  expect(isLocked(victim)).toBe(false);
}

test('a folder that takes the place of the state directory before it is locked is not taken', () => {
  const state = stateDirectory(path, fs, (...args) => {
    swap();
    return lockDirectory(...args);
  });
  expect(() => state.claim()).toThrow(refused);
  expectUntouched();
});

test('nor one that takes it while it is locked', () => {
  const state = stateDirectory(path, fs, (...args) => {
    const unlock = lockDirectory(...args);
    swap();
    return unlock;
  });
  expect(() => state.directory.write('state.json', '{}', 0o600)).toThrow(refused);
  expectUntouched();
  expect(isLocked(join(place, 'was'))).toBe(false);
});

test('nor one that takes it after it was judged again, as it is opened', () => {
  let isJudgedAgain = false;
  let isJudging = false;
  const swapOnce = once(swap);
  const disk = {
    ...fs,
    readdirSync: ((...args: Parameters<typeof fs.readdirSync>) => {
      isJudging = isJudgedAgain;
      return fs.readdirSync(...args);
    }) as typeof fs.readdirSync,
    openSync: ((...args: Parameters<typeof fs.openSync>) => {
      if (isJudging) swapOnce();
      return fs.openSync(...args);
    }) as typeof fs.openSync,
  };
  const state = stateDirectory(path, disk, (...args) => {
    const unlock = lockDirectory(...args);
    isJudgedAgain = true;
    return unlock;
  });
  expect(() => state.claim()).toThrow(refused);
  expect(statSync(path).ino).toBe(statSync(victim).ino);
  expectUntouched();
});

test('what is put into the directory while it is locked is judged, and the next try takes it once that is gone', () => {
  const thesis = join(path, 'thesis.txt');
  const plant = once(() => fs.writeFileSync(thesis, 'not ours'));
  const state = stateDirectory(path, fs, (...args) => {
    const unlock = lockDirectory(...args);
    plant();
    return unlock;
  });
  expect(() => state.claim()).toThrow(/holds other files/);
  expect(statSync(path).mode & 0o777).toBe(0o755);
  rmSync(thesis);
  state.claim();
  expect(statSync(path).mode & 0o777).toBe(0o700);
  expect(isLocked(path)).toBe(true);
  state.release();
});

test('a directory that is reached through a link is taken', () => {
  const link = join(place, 'link');
  symlinkSync(path, link);
  const state = stateDirectory(link);
  state.directory.write('state.json', '{}', 0o600);
  state.release();
  expect(readdirSync(path)).toEqual(['state.json']);
});

test('what another daemon wrote between making and locking the directory is synced before it is acted upon', () => {
  rmSync(path, { recursive: true });
  const calls: string[] = [];
  const disk = {
    ...fs,
    fsyncSync: (file: number) => {
      calls.push('sync');
      fs.fsyncSync(file);
    },
  };
  const state = stateDirectory(path, disk, (...args) => {
    fs.writeFileSync(join(path, 'identity.key'), 'key of a daemon that was killed before its sync');
    calls.length = 0;
    return lockDirectory(...args);
  });
  state.directory.read('identity.key');
  expect(calls).toEqual(['sync']);
  state.release();
});

test('a new directory that cannot be listed is a disk that fails, and the next try takes it', () => {
  rmSync(path, { recursive: true });
  let isLockedNow = false;
  const fail = once(() => {
    throw Object.assign(new Error('EIO: i/o error, scandir'), { code: 'EIO', syscall: 'scandir' });
  });
  // The last of the looks at it: those that judge it go by what they find.
  let looks = 0;
  const disk = {
    ...fs,
    readdirSync: ((...args: Parameters<typeof fs.readdirSync>) => {
      if (isLockedNow && ++looks === 2) fail();
      return fs.readdirSync(...args);
    }) as typeof fs.readdirSync,
  };
  const state = stateDirectory(path, disk, (...args) => {
    const unlock = lockDirectory(...args);
    isLockedNow = true;
    return unlock;
  });
  expect(() => state.claim()).toThrow(
    expect.objectContaining({
      code: 'STATE_UNWRITABLE',
      message: expect.stringMatching(/cannot be read: .*EIO/),
    }),
  );
  expect(isLocked(path)).toBe(false);
  state.claim();
  expect(isLocked(path)).toBe(true);
  state.release();
});
