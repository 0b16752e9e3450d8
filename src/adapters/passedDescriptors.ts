import { fstatSync } from 'node:fs';

/** sd_listen_fds(3): they begin here. */
const first = 3;

/**
 * Open files that the service manager passed to this process (sd_listen_fds(3)), by their names. The unit names two,
 * both connected datagram sockets (`OpenFile=`, systemd 253 or newer):
 *
 * - `notify`: takes the messages of sd_notify(3)
 * - `journal`: takes entries of the journal's native protocol
 *
 * Node has no datagram sockets of the Unix family, yet one `writeSync` to such a descriptor is one datagram. What is not
 * for this process (`LISTEN_PID`), or is not a socket, is left out. Node closes them in child processes.
 */
export function passedSockets(
  environment: NodeJS.ProcessEnv,
  pid: number = process.pid,
  isSocket: (descriptor: number) => boolean = isSocketHere,
): ReadonlyMap<string, number> {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = environment;
  if (Number(LISTEN_PID) !== pid || !/^\d{1,3}$/.test(LISTEN_FDS ?? '')) return new Map();
  const names = LISTEN_FDNAMES.split(':').slice(0, Number(LISTEN_FDS));
  return new Map(names.map((name, at) => [name, first + at] as const).filter(([, at]) => isSocket(at)));
}

function isSocketHere(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isSocket();
  } catch {
    return false;
  }
}
