import fs from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

/** The calls of node:fs that look at a folder and change nothing. */
export type Look = Pick<
  typeof fs,
  | 'statSync'
  | 'lstatSync'
  | 'readdirSync'
  | 'realpathSync'
  | 'openSync'
  | 'fstatSync'
  | 'readSync'
  | 'closeSync'
>;

/** How files of onboardd are told from those of others. */
export interface OwnFiles {
  /** Whether a name is that of a file of onboardd */
  readonly isOwn: (name: string) => boolean;
  /** Whether the text of such a file shows that onboardd wrote it; null: it is not a regular file to read */
  readonly provesState: (name: string, readText: () => string | null) => boolean;
}

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
/** How much of a file is read to know it by, in bytes. */
const enough = 65_536;

/** What the kernel alone puts files into. */
const kernels = ['/proc', '/sys', '/dev'];
/** Folders of the system (hier(7), file-hierarchy(7)), which may be empty and are nobody's to take. */
const systems = new Set(
  [
    ...[
      '',
      'bin',
      'boot',
      'etc',
      'home',
      'lib',
      'lib64',
      'media',
      'mnt',
      'opt',
      'root',
      'run',
      'sbin',
      'srv',
    ],
    ...['tmp', 'usr', 'usr/local', 'var', 'var/cache', 'var/lib', 'var/local', 'var/lock', 'var/log'],
    ...['var/mail', 'var/opt', 'var/run', 'var/spool', 'var/tmp', 'run/lock', 'run/user'],
  ].map((name) => `/${name}`),
);

/**
 * Whether a folder may be taken as the state directory: one that is not there yet, an empty one of its own, or one that
 * holds files of onboardd: nothing else, or among them one that shows by its content that onboardd wrote it. Whatever
 * else somebody names by mistake must keep its mode, its owner and its content.
 *
 * @param given folders that the service manager made for this service ($STATE_DIRECTORY)
 * @returns why not, to follow the path; null where it may, where it is not there, and where that cannot be seen: then
 *   using it fails
 */
export function refusalOf(
  folder: string,
  { isOwn, provesState }: OwnFiles,
  look: Look = fs,
  given: readonly string[] = [],
): string | null {
  const path = resolve(folder);
  const real = realPath(path, look);
  const kernel = kernels.find((root) =>
    [path, real].some((one) => one === root || one.startsWith(`${root}/`)),
  );
  if (kernel !== undefined) return `lies below ${kernel}, which belongs to the kernel`;
  let at: fs.Stats;
  let names: string[];
  let isState: boolean;
  try {
    at = look.statSync(path);
    if (!at.isDirectory()) return 'is not a directory';
    names = look.readdirSync(path).filter((name) => name !== 'lost+found');
    const own = names.filter((name) => isOwn(name) && isTrusted(join(path, name), at, look));
    isState =
      own.length > 0 &&
      (names.every(isOwn) || own.some((name) => provesState(name, () => beginning(join(path, name), look))));
  } catch (error) {
    return codeOf(error) === 'ENOTDIR' ? 'has a parent that is not a directory' : null;
  }
  const open = `is open to everybody (mode ${(at.mode & 0o7777).toString(8)})`;
  const isOpen = isOpenToAll(at);
  if (isState) return isOpen && (at.mode & 0o1000) !== 0 ? open : null;
  if (names.length > 0) {
    // Nothing of it would be changed: systemd has made it ours alone.
    const isGiven = given.includes(path) && at.uid === process.geteuid?.() && (at.mode & 0o077) === 0;
    return isGiven ? null : `holds other files (${someOf(names)}) and no state of onboardd`;
  }
  if (isOpen || (at.mode & 0o1000) !== 0) return open;
  return systems.has(real) ? 'is a system directory' : null;
}

/** Whether a path leads to a file of the state directory, through whatever links and folders. */
export function isStateFile(path: string, folder: string, isOwn: (name: string) => boolean): boolean {
  const state = realPath(resolve(folder), fs);
  const at = resolve(path);
  const target = join(realPath(dirname(at), fs), basename(at));
  return [target, realPath(at, fs)].some((one) => dirname(one) === state && isOwn(basename(one)));
}

/** Anybody could have put a file into a folder that is open: it counts where the folder's owner, root or we did. */
function isTrusted(path: string, folder: fs.Stats, look: Look): boolean {
  if (!isOpenToAll(folder)) return true;
  try {
    const { uid } = look.lstatSync(path);
    return uid === folder.uid || uid === 0 || uid === process.geteuid?.();
  } catch {
    return false;
  }
}

function isOpenToAll({ mode }: fs.Stats): boolean {
  return (mode & 0o002) !== 0;
}

/**
 * The beginning of a regular file.
 *
 * @returns null where it is none, or not ours to read
 * @throws {Error} EIO: the disk fails
 */
function beginning(path: string, look: Look): string | null {
  try {
    const file = look.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      if (!look.fstatSync(file).isFile()) return null;
      const bytes = Buffer.alloc(enough);
      return bytes.toString('utf8', 0, look.readSync(file, bytes, 0, enough, 0));
    } finally {
      look.closeSync(file);
    }
  } catch (error) {
    if (codeOf(error) === 'EIO') throw error;
    return null;
  }
}

/** The path without links, as far as it is there. @param path absolute */
function realPath(path: string, look: Look): string {
  try {
    return look.realpathSync(path);
  } catch {
    const above = dirname(path);
    return above === path ? path : join(realPath(above, look), basename(path));
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

function someOf(names: readonly string[]): string {
  return [...names.slice(0, 3), ...(names.length > 3 ? ['…'] : [])].join(', ');
}
