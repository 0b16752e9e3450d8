import { isIP, type Socket } from 'node:net';

/**
 * Each address of a name gets this long, milliseconds. Node's own 250 are less than one handshake of a satellite link
 * (600 ms): a name with one more address that has no route then never connects.
 */
export const addressAttemptMs = 2_500;

/** Notes every address of a name that a socket tries to reach. Call it before the socket connects. */
export function noteAttempts(socket: Socket, host: string, tried: Set<string>): void {
  if (isIP(host) > 0) return;
  socket.on('connectionAttempt', (address: string) => tried.add(address));
}
