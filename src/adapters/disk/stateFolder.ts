import fs from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

/** The calls of node:fs that read a folder and change nothing. */
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

/** Distinguishes files of onboardd from other files. */
export interface OwnFiles {
  /** Whether a name is that of a file of onboardd */
  readonly isOwn: (name: string) => boolean;
  /** Whether the text of such a file shows that onboardd wrote it; null: not a readable regular file */
  readonly provesState: (name: string, readText: () => string | null) => boolean;
}

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
/** How much of a file is read to identify it, bytes. */
const enough = 65_536;

/** File systems of the kernel. */
const kernels = ['/proc', '/sys', '/dev'];
/** Folders of the system (hier(7), file-hierarchy(7)), which may be empty. */
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
 * Whether a folder can be the state directory: it does not exist, is empty and not a system directory, or holds files of
 * onboardd: only those, or at least one whose content shows that onboardd wrote it. Any other folder, named by mistake,
 * must keep its mode, owner and content.
 *
 * @param given folders that the service manager created for this service ($STATE_DIRECTORY)
 * @returns why not, to follow the path in a message; null: it can be, does not exist, or cannot be read, in which case
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
    // It would not be changed: systemd has created it for this service.
    const isGiven = given.includes(path) && at.uid === process.geteuid?.() && (at.mode & 0o077) === 0;
    return isGiven ? null : `holds other files (${someOf(names)}) and no state of onboardd`;
  }
  if (isOpen || (at.mode & 0o1000) !== 0) return open;
  return systems.has(real) ? 'is a system directory' : null;
}

/** Whether a path leads to a file of the state directory, through any links and folders. */
export function isStateFile(path: string, folder: string, isOwn: (name: string) => boolean): boolean {
  const state = realPath(resolve(folder), fs);
  const at = resolve(path);
  const target = join(realPath(dirname(at), fs), basename(at));
  return [target, realPath(at, fs)].some((one) => dirname(one) === state && isOwn(basename(one)));
}

/** Anybody can write a file into an open folder: it counts only if the folder's owner, root or this user owns it. */
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
 * @returns null if it is not a regular file, or cannot be read
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

/** The path with links resolved, as far as it exists. @param path absolute */
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
