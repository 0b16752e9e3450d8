import fs from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

/** The calls of node:fs that look at a folder and change nothing. */
export type Look = Pick<typeof fs, 'statSync' | 'lstatSync' | 'readdirSync' | 'realpathSync'>;

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
 * holds files of onboardd. Whatever else somebody names by mistake must keep its mode, its owner and its content.
 *
 * @param isOwn whether a name is that of a file of onboardd
 * @param given folders that the service manager made for this service ($STATE_DIRECTORY)
 * @returns why not, to follow the path; null where it may, where it is not there, and where that cannot be seen: then
 *   using it fails
 */
export function refusalOf(
  folder: string,
  isOwn: (name: string) => boolean,
  look: Look = fs,
  given: readonly string[] = [],
): string | null {
  const path = resolve(folder);
  const real = realPath(path, look);
  const kernel = kernels.find((root) =>
    [path, real].some((one) => one === root || one.startsWith(`${root}/`)),
  );
  if (kernel !== undefined) return `lies below ${kernel}, which is the kernel’s`;
  let names: string[];
  let at: fs.Stats;
  try {
    at = look.statSync(path);
    if (!at.isDirectory()) return 'is no directory';
    names = look.readdirSync(path).filter((name) => name !== 'lost+found');
  } catch {
    return null;
  }
  const open = `is open to everybody (mode ${(at.mode & 0o7777).toString(8)})`;
  const isOpen = (at.mode & 0o002) !== 0;
  const isShared = isOpen && (at.mode & 0o1000) !== 0;
  const own = names.filter((name) => isOwn(name) && (!isOpen || isTrusted(join(path, name), at.uid, look)));
  if (own.length > 0) return isShared ? open : null;
  if (names.length > 0) {
    // Nothing of it would be changed: systemd has made it ours alone.
    const isGiven = given.includes(path) && at.uid === process.geteuid?.() && (at.mode & 0o077) === 0;
    return isGiven ? null : `holds other things (${someOf(names)}) and no state of onboardd`;
  }
  if (isOpen || (at.mode & 0o1000) !== 0) return open;
  return systems.has(real) ? 'is a folder of the system' : null;
}

/** Whether a path leads to a file of the state directory, through whatever links and folders. */
export function isStateFile(path: string, folder: string, isOwn: (name: string) => boolean): boolean {
  const state = realPath(resolve(folder), fs);
  const at = resolve(path);
  const target = join(realPath(dirname(at), fs), basename(at));
  return [target, realPath(at, fs)].some((one) => dirname(one) === state && isOwn(basename(one)));
}

/** Anybody could have put a file into a folder that is open: it counts where the folder's owner, root or we did. */
function isTrusted(path: string, owner: number, look: Look): boolean {
  try {
    const { uid } = look.lstatSync(path);
    return uid === owner || uid === 0 || uid === process.geteuid?.();
  } catch {
    return false;
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

function someOf(names: readonly string[]): string {
  return [...names.slice(0, 3), ...(names.length > 3 ? ['…'] : [])].join(', ');
}
