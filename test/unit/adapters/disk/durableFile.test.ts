import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  type Disk,
  makeDirectory,
  openStateDirectory,
  stageDurably,
  stageRefresh,
  writeDurably,
} from '../../../../src/adapters/disk/durableFile.ts';

const folders: string[] = [];

function folder(): string {
  const made = fs.mkdtempSync(join(tmpdir(), 'files-'));
  folders.push(made);
  return made;
}

afterAll(() => {
  for (const made of folders) fs.rmSync(made, { recursive: true });
});

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
  writeDurably(join(folder(), 'a'), 'text', 0o600, { disk });
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
  writeDurably(path, 'whole', 0o600, { disk });
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
  expect(() => writeDurably(path, 'new', 0o600, { disk })).toThrow(/cannot write .*ENOSPC/);
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

test('after a sync that failed nothing is read or written before the folder is durable', () => {
  const place = folder();
  let isBroken = false;
  const { disk, calls } = watched({
    fsyncSync: (descriptor) => {
      if (isBroken && fs.fstatSync(descriptor).isDirectory()) throw new Error('EIO');
      fs.fsyncSync(descriptor);
    },
  });
  const directory = openStateDirectory(place, disk);
  expect(directory.read('identity.key')).toBeNull();
  isBroken = true;
  expect(() => directory.write('identity.key', 'key', 0o600)).toThrow(/EIO/);
  expect(() => directory.read('identity.key')).toThrow(/cannot sync/);
  isBroken = false;
  calls.length = 0;
  expect(directory.read('identity.key')).toBe('key');
  expect(calls).toContain('fsyncSync');
});

test('what a killed process left is made durable before it is acted upon', () => {
  const place = folder();
  fs.writeFileSync(join(place, 'identity.key'), 'key');
  const { disk, calls } = watched();
  const directory = openStateDirectory(place, disk);
  calls.length = 0;
  expect(directory.read('identity.key')).toBe('key');
  expect(calls).toEqual([...['openSync', 'fsyncSync', 'closeSync'], ...['openSync', 'closeSync']]);
});

/** As its maker describes a folder. */
const newPlace = (place: string) => {
  const { dev, ino } = fs.statSync(place);
  return { dev, ino, isNew: true };
};

test('a folder that was just made is not synced before the first read', () => {
  const place = folder();
  const { disk, calls } = watched();
  const directory = openStateDirectory(place, disk, undefined, newPlace(place));
  expect(directory.read('state.json')).toBeNull();
  expect(calls).not.toContain('fsyncSync');
});

test('copies are synced one by one, and their folder once', () => {
  const place = folder();
  const { disk, calls } = watched();
  const directory = openStateDirectory(place, disk, undefined, newPlace(place));
  const refreshAll = () => {
    calls.length = 0;
    for (const name of ['identity.crt', 'device_id.txt']) directory.refresh(name, 'text', 0o644);
    directory.settle();
    return calls.filter((call) => call === 'fsyncSync').length;
  };
  expect([refreshAll(), refreshAll()]).toEqual([3, 0]);
  expect(fs.readFileSync(join(place, 'identity.crt'), 'utf8')).toBe('text');
  directory.refresh('identity.crt', 'other', 0o644);
  directory.write('state.json', '{}', 0o600);
  calls.length = 0;
  directory.settle();
  expect(calls).toEqual([]);
});

test('bookkeeping is replaced as a whole, and costs no sync', () => {
  const place = folder();
  const { disk, calls } = watched();
  const directory = openStateDirectory(place, disk);
  directory.note('status.json', 'long text', 0o644);
  directory.note('status.json', 'text', 0o644);
  expect(calls).not.toContain('fsyncSync');
  expect(fs.readdirSync(place)).toEqual(['status.json']);
  expect(fs.readFileSync(join(place, 'status.json'), 'utf8')).toBe('text');
});

test.runIf(process.geteuid?.() === 0)('root leaves files that the service of the directory can read', () => {
  const place = folder();
  fs.chownSync(place, 12345, 23456);
  const directory = openStateDirectory(place);
  directory.write('state.json', '{}', 0o600);
  directory.refresh('identity.crt', 'certificate', 0o644);
  directory.note('status.json', '{}', 0o644);
  for (const name of fs.readdirSync(place)) {
    expect(fs.statSync(join(place, name))).toMatchObject({ uid: 12345, gid: 23456 });
  }
});

test('neither mode nor content of what a link points at is touched, whatever is done with the link', () => {
  const place = folder();
  const target = join(folder(), 'shadow');
  fs.writeFileSync(target, 'somebody’s', { mode: 0o644 });
  const directory = openStateDirectory(place, fs, () => 0o600);
  for (const name of ['identity.key', 'identity.crt']) fs.symlinkSync(target, join(place, name));
  expect(() => directory.read('identity.key')).toThrow(/symbolic link/);
  directory.restrict('identity.key', 0o600);
  directory.refresh('identity.crt', 'certificate', 0o600);
  expect(fs.lstatSync(join(place, 'identity.crt')).isFile()).toBe(true);
  expect([fs.readFileSync(target, 'utf8'), fs.statSync(target).mode & 0o777]).toEqual(['somebody’s', 0o644]);
});

test('a staged file is whole on the disk before it is renamed, and only its folder is synced after that', () => {
  const path = join(folder(), 'a');
  const { disk, calls } = watched();
  const stepCalls = () => calls.splice(0);
  const file = stageDurably(path, 'text', 0o600, { disk });
  expect(stepCalls().slice(-3)).toEqual(['writeSync', 'fsyncSync', 'closeSync']);
  expect(fs.existsSync(path)).toBe(false);
  file.place();
  expect(stepCalls()).toEqual(['renameSync']);
  file.settle();
  expect(stepCalls()).toEqual(['openSync', 'fsyncSync', 'closeSync']);
});

test.each([
  0o666, 0o400,
])('a file of mode %o gets its own back where the content is as it should be', (mode) => {
  const path = join(folder(), 'a');
  fs.writeFileSync(path, 'text');
  fs.chmodSync(path, mode);
  const { disk, calls } = watched();
  expect(stageRefresh(path, 'text', 0o640, { disk })).toBeNull();
  expect(fs.statSync(path).mode & 0o7777).toBe(0o640);
  expect(calls).toEqual(['openSync', 'closeSync']);
});

test('a folder that took the place of the one that was judged is not opened, and keeps its mode', () => {
  const [judged, other] = [folder(), folder()];
  fs.chmodSync(other, 0o755);
  expect(() => openStateDirectory(other, fs, undefined, fs.statSync(judged))).toThrow(
    expect.objectContaining({
      code: 'STATE_UNWRITABLE',
      message: expect.stringContaining('another folder is in its place'),
    }),
  );
  expect(fs.statSync(other).mode & 0o777).toBe(0o755);
});

test('a file that has another name too keeps its mode: it is read, and a copy is made anew', () => {
  const [place, target] = [folder(), join(folder(), 'shadow')];
  fs.writeFileSync(target, 'somebody’s');
  fs.chmodSync(target, 0o644);
  const directory = openStateDirectory(place, fs, () => 0o600);
  for (const name of ['identity.key', 'registration.json']) fs.linkSync(target, join(place, name));
  expect(directory.read('identity.key')).toBe('somebody’s');
  directory.restrict('identity.key', 0o600);
  directory.refresh('registration.json', 'somebody’s', 0o600);
  expect(fs.statSync(target).mode & 0o777).toBe(0o644);
  expect(fs.statSync(join(place, 'registration.json'))).toMatchObject({ mode: 0o100600, nlink: 1 });
});

test.runIf(process.geteuid?.() === 0)('root sets the mode of no file of a third user', () => {
  const place = folder();
  fs.chownSync(place, 12345, 23456);
  const path = join(place, 'identity.key');
  const modeFor = (owner: number) => {
    fs.writeFileSync(path, 'key');
    fs.chownSync(path, owner, 23456);
    fs.chmodSync(path, 0o644);
    expect(openStateDirectory(place, fs, () => 0o600).read('identity.key')).toBe('key');
    return fs.statSync(path).mode & 0o777;
  };
  expect([54321, 12345, 0].map(modeFor)).toEqual([0o644, 0o600, 0o600]);
});

test('a folder that is made for an export is open to those whom its files are for, whatever the umask; the state directory is not', () => {
  const made = folder();
  const before = process.umask(0o077);
  try {
    stageRefresh(join(made, 'certs', 'device', 'identity.crt'), 'text', 0o644)?.place();
    process.umask(0);
    makeDirectory(join(made, 'state'));
  } finally {
    process.umask(before);
  }
  const modes = ['certs', 'certs/device', 'certs/device/identity.crt', 'state'].map((name) =>
    (fs.statSync(join(made, name)).mode & 0o777).toString(8),
  );
  expect(modes).toEqual(['755', '755', '644', '700']);
  expect(process.umask()).toBe(before);
});
