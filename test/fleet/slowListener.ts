import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

export interface SlowListener {
  readonly port: number;
  /** From now on it takes connections; a client whose SYN was dropped sends it again after a second. */
  resume(): void;
  stop(): Promise<void>;
}

const program = `
const { connect, createServer } = require('node:net');
const [host, port] = process.argv.slice(1);
const server = createServer((near) => {
  const far = connect({ host, port: Number(port) });
  near.on('error', () => far.destroy());
  far.on('error', () => near.destroy());
  near.pipe(far).pipe(near);
});
server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => console.log(server.address().port));
`;

/**
 * A listener on 127.0.0.1 that passes connections on, and whose TCP handshake takes a second, as on a slow link: it is
 * stopped with a full queue, so the system drops what asks for a connection until `resume()`.
 */
export async function startSlowListener(to: { host: string; port: number }): Promise<SlowListener> {
  const child: ChildProcess = spawn(process.execPath, ['-e', program, to.host, `${to.port}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line');
  const port = Number(line);
  child.kill('SIGSTOP');
  const crowd: Socket[] = [];
  const join = () => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('error', () => undefined);
    crowd.push(socket);
    return socket;
  };
  // The queue holds one more than the backlog says.
  for (let count = 0; count < 2; count++) await once(join(), 'connect');
  const leave = () => {
    for (const socket of crowd) socket.destroy();
  };
  return {
    port,
    resume() {
      child.kill('SIGCONT');
      leave();
    },
    async stop() {
      leave();
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}
