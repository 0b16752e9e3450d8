import { type AddressInfo, connect, createServer } from 'node:net';
import { atEnd } from '../atEnd.ts';

export interface Attacker {
  readonly host: string;
  readonly port: number;
  /** How many connections came. */
  readonly connections: number;
  stop(): Promise<void>;
}

/**
 * Somebody on the path to a NATS server: a relay on a free port of 127.0.0.1 that rewrites what the server says first,
 * in clear text, and passes on everything else.
 *
 * @param rewrite from the server's first segment, INFO and its CR LF, to what the device gets: segments, in order
 */
export async function startAttacker(
  to: { host: string; port: number },
  rewrite: (info: string) => readonly (string | Buffer)[],
): Promise<Attacker> {
  let connections = 0;
  const sockets = new Set<{ destroy(): void }>();
  const server = createServer((near) => {
    connections += 1;
    const far = connect(to);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        near.destroy();
        far.destroy();
      });
    }
    far.once('data', async (first: Buffer) => {
      far.pause();
      for (const segment of rewrite(first.toString('latin1'))) {
        await new Promise((resolve) => near.write(segment, resolve));
        // A segment of its own for each, so that none rides along with the one before.
        await new Promise((resolve) => setImmediate(resolve));
      }
      near.pipe(far);
      far.pipe(near);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return atEnd({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    async stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  });
}

/** A fake result as an attacker would write it into the protocol. */
export function forgedResult(alias: string, configuration: string): string {
  const json = JSON.stringify({ status: 'success', alias, configuration, token: 'attacker token' });
  return `MSG x 1 ${Buffer.byteLength(json)}\r\n${json}\r\n`;
}
