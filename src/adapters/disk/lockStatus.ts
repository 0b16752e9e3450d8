import { lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { basename } from 'node:path';

/**
 * Whether a daemon holds the state directory's lock (lock.ts), without touching the lock: even a shared lock, held for a
 * moment, could make a starting daemon exit.
 *
 * @returns null if unknown: the kernel shows users only the open files of their own processes
 */
export function isLocked(folder: string): boolean | null {
  let place: { dev: number; ino: number };
  try {
    place = statSync(folder);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? false : null;
  }
  if (isListed(place)) return true;
  // In a container the list omits locks whose creator has exited, and ours is created by flock(1): search open files.
  const { held, complete } = lockedByProcess(folder);
  if (held) return true;
  return complete ? false : null;
}

/** proc_locks(5): `1: FLOCK  ADVISORY  WRITE 1234 fe:00:2146584 0 EOF` */
function isListed({ dev, ino }: { dev: number; ino: number }): boolean {
  const [major, minor] = [(dev >> 8) & 0xfff, (dev & 0xff) | ((dev >> 12) & 0xfff00)];
  const hex = (number: number) => number.toString(16).padStart(2, '0');
  const wanted = new RegExp(`FLOCK .* WRITE .* ${hex(major)}:${hex(minor)}:${ino} `);
  try {
    return readFileSync('/proc/locks', 'utf8')
      .split('\n')
      .some((line) => wanted.test(line));
  } catch {
    return false;
  }
}

/**
 * Searches for a process that has the directory open and locked.
 *
 * @returns `complete`: the open files of every process could be seen
 */
export function lockedByProcess(folder: string): {
  held: boolean;
  complete: boolean;
  pid: number | null;
} {
  const { dev, ino } = statSync(folder);
  const name = basename(realpathSync(folder));
  const { names: processes } = list('/proc');
  // With hidepid= the processes of other users are not listed.
  let complete = processes.includes('1');
  for (const pid of processes.filter((entry) => /^\d+$/.test(entry))) {
    const { names, denied } = list(`/proc/${pid}/fd`);
    if (denied) complete = false;
    for (const number of names) {
      try {
        // Compare the name first: stat on an open file may hang, on a network file system that is down.
        if (basename(readlinkSync(`/proc/${pid}/fd/${number}`)) !== name) continue;
        const open = statSync(`/proc/${pid}/fd/${number}`);
        const isSame = open.dev === dev && open.ino === ino;
        if (isSame && /^lock:.*FLOCK/m.test(readFileSync(`/proc/${pid}/fdinfo/${number}`, 'utf8')))
          return { held: true, complete, pid: Number(pid) };
      } catch {
        // The process exited or closed the file in the meantime.
      }
    }
  }
  return { held: false, complete, pid: null };
}

function list(folder: string): { names: string[]; denied: boolean } {
  try {
    return { names: readdirSync(folder), denied: false };
  } catch (error) {
    return { names: [], denied: (error as NodeJS.ErrnoException).code === 'EACCES' };
  }
}

/** The user of the daemon that holds the lock; null: none does, or the caller may not see it. */
export function userOfDaemon(folder: string): string | null {
  try {
    const { pid } = lockedByProcess(folder);
    return pid === null ? null : ownerOf(`/proc/${pid}`);
  } catch {
    return null;
  }
}

/** The owner of a path, for a person: `onboardd`, or `uid 998` without a name. Null if unknown. */
export function ownerOf(path: string): string | null {
  try {
    return userName(lstatSync(path).uid);
  } catch {
    return null;
  }
}

function userName(uid: number): string {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.split(':')[2] === String(uid));
  return line?.split(':')[0] ?? `uid ${uid}`;
}
