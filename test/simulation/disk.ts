import { constants } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Disk } from '../../src/adapters/disk/durableFile.ts';
import type { Look } from '../../src/adapters/disk/stateFolder.ts';
import { type Chance, pick } from '../support/chance.ts';

interface File {
  data: Buffer;
  /** What a power cut leaves at the least; null: the file was never synced */
  synced: Buffer | null;
  mode: number;
}

type NameChange = { readonly from: string | null; readonly to: string | null; readonly file: File | null };

export type DiskFault = 'EIO' | 'ENOSPC' | 'EROFS';

/**
 * A disk with a page cache. A power cut loses what was not synced: names that were changed since their folder was
 * synced are there or not, each for itself; content that was not synced is the old, nothing, a part, or all of it.
 */
export interface SimulatedDisk {
  readonly disk: Disk & Look;
  /** What is there as the system sees it now. */
  read(path: string): string | null;
  /** What a power cut now would be sure to leave. */
  durable(path: string): string | null;
  names(): string[];
  /** Somebody, or a failing disk, puts this there; null removes the file. */
  put(path: string, text: string | null): void;
  cutPower(): void;
}

/** @param onStep called before each call that changes the disk. @param faultNow the fault that each call meets */
export function createDisk(
  chance: Chance,
  onStep: (operation: string, path: string) => void,
  faultNow: () => DiskFault | null,
): SimulatedDisk {
  let names = new Map<string, File>();
  let durableNames = new Map<string, File>();
  let pending: NameChange[] = [];
  const folders = new Set(['/', '/var', '/var/lib']);
  const open = new Map<number, { path: string; file: File | null }>();
  let nextDescriptor = 3;

  const fail = (code: string, path: string) =>
    Object.assign(new Error(`${code}: simulated, '${path}'`), { code });
  const step = (operation: string, path: string) => {
    onStep(operation, path);
    const fault = faultNow();
    if (fault === null) return;
    if (fault === 'ENOSPC' && !['open', 'write', 'mkdir'].includes(operation)) return;
    if (fault === 'EIO' && chance() < 0.5) return;
    throw fail(fault, path);
  };
  const find = (path: string): File => {
    const file = names.get(path);
    if (file === undefined) throw fail('ENOENT', path);
    return file;
  };
  const change = (next: NameChange) => {
    apply(names, next);
    pending.push(next);
  };

  const disk = {
    openSync(path: string, flags: string | number, mode = 0o666) {
      if (folders.has(path)) {
        open.set(nextDescriptor, { path, file: null });
        return nextDescriptor++;
      }
      if (typeof flags === 'number') {
        open.set(nextDescriptor, { path, file: find(path) });
        return nextDescriptor++;
      }
      step('open', path);
      if (flags.includes('x') && names.has(path)) throw fail('EEXIST', path);
      const file: File = { data: Buffer.alloc(0), synced: null, mode };
      change({ from: null, to: path, file });
      open.set(nextDescriptor, { path, file });
      return nextDescriptor++;
    },
    writeSync(descriptor: number, bytes: Buffer, offset: number, length: number) {
      const { path, file } = open.get(descriptor) as { path: string; file: File };
      step('write', path);
      // A disk may take less than it was given.
      const taken = chance() < 0.05 && length > 1 ? Math.ceil(length * chance()) : length;
      file.data = Buffer.concat([file.data, bytes.subarray(offset, offset + taken)]);
      return taken;
    },
    fsyncSync(descriptor: number) {
      const { path, file } = open.get(descriptor) as { path: string; file: File | null };
      step(file === null ? 'fsync-folder' : 'fsync', path);
      if (file !== null) {
        file.synced = file.data;
        return;
      }
      pending = pending.filter((next) => {
        const within = [next.from, next.to].some((name) => name !== null && dirname(name) === path);
        if (within) apply(durableNames, next);
        return !within;
      });
    },
    closeSync: (descriptor: number) => void open.delete(descriptor),
    renameSync(from: string, to: string) {
      step('rename', to);
      change({ from, to, file: find(from) });
    },
    unlinkSync(path: string) {
      find(path);
      step('unlink', path);
      change({ from: path, to: null, file: null });
    },
    readFileSync(descriptor: number) {
      const { path, file } = open.get(descriptor) as { path: string; file: File };
      if (faultNow() === 'EIO' && chance() < 0.3) throw fail('EIO', path);
      return file.data.toString('utf8');
    },
    readSync(descriptor: number, bytes: Buffer, offset: number, length: number, position: number) {
      const { file } = open.get(descriptor) as { file: File };
      return file.data.copy(bytes, offset, position, position + length);
    },
    mkdirSync(path: string) {
      step('mkdir', path);
      folders.add(path);
    },
    fchownSync() {
      // All files have one owner here.
    },
    fchmodSync(descriptor: number, mode: number) {
      const { path, file } = open.get(descriptor) as { path: string; file: File };
      step('chmod', path);
      file.mode = mode;
    },
    fstatSync(descriptor: number) {
      const { file } = open.get(descriptor) as { file: File | null };
      return file === null ? folderStat : fileStat(file.mode);
    },
    statSync(path: string) {
      if (!folders.has(path)) find(path);
      const ino = folders.has(path) ? 1 : 2;
      return { dev: 1, ino, mode: 0o700, uid: 0, gid: 0, isDirectory: () => folders.has(path) };
    },
    lstatSync: (path: string) => disk.statSync(path),
    readdirSync: (path: string) =>
      [...names.keys()].filter((name) => dirname(name) === path).map((name) => basename(name)),
    realpathSync: (path: string) => path,
    existsSync: (path: string) => folders.has(path) || names.has(path),
  };

  return {
    disk: disk as unknown as Disk & Look,
    read: (path) => names.get(path)?.data.toString('utf8') ?? null,
    durable: (path) => durableNames.get(path)?.synced?.toString('utf8') ?? null,
    names: () => [...names.keys()],
    put(path, text) {
      folders.add(dirname(path));
      const data = Buffer.from(text ?? '');
      const next = text === null ? null : { data, synced: data, mode: 0o600 };
      for (const all of [names, durableNames]) {
        if (next === null) all.delete(path);
        else all.set(path, next);
      }
    },
    cutPower() {
      for (const next of pending) if (chance() < 0.5) apply(durableNames, next);
      pending = [];
      open.clear();
      const survivors = new Map<File, File>();
      names = new Map();
      for (const [path, file] of durableNames) {
        const survivor = survivors.get(file) ?? survive(file, chance);
        survivors.set(file, survivor);
        names.set(path, survivor);
      }
      durableNames = new Map(names);
    },
  };
}

/** Looked at some hundred thousand times in a long life. */
const folderStat = {
  dev: 1,
  ino: 1,
  nlink: 1,
  mode: constants.S_IFDIR | 0o700,
  uid: 0,
  gid: 0,
  isFile: () => false,
};
const isFile = () => true;
const fileStat = (mode: number) => ({
  dev: 1,
  ino: 2,
  nlink: 1,
  mode: constants.S_IFREG | mode,
  uid: 0,
  gid: 0,
  isFile,
});

function apply(names: Map<string, File>, { from, to, file }: NameChange): void {
  if (from !== null) names.delete(from);
  if (to !== null && file !== null) names.set(to, file);
}

function survive({ data, synced, mode }: File, chance: Chance): File {
  const torn = () => data.subarray(0, Math.floor(data.length * chance()));
  const left = synced === data ? data : pick(chance, [() => synced ?? Buffer.alloc(0), torn, () => data])();
  return { data: left, synced: left, mode };
}
