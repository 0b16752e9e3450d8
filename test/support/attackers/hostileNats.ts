import { type AddressInfo, createServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Authority } from '../../../fleet/ca.ts';
import { atEnd } from '../atEnd.ts';

export interface HostileNats {
  readonly port: number;
  /** Lines that the devices sent, in order. */
  readonly lines: readonly string[];
  readonly connections: number;
  stop(): Promise<void>;
}

/**
 * A NATS server that speaks the protocol up to the answer of the first PING and then does what the test says: one that
 * holds a certificate of the fleet's own CA, so TLS does not keep it out.
 *
 * @param act called with every further line of the device, and how to answer
 * @param info fields of INFO in place of the usual ones
 */
export async function startHostileNats(
  authority: Authority,
  act: (line: string, send: (bytes: string | Buffer) => void, socket: Socket) => void,
  info: Record<string, unknown> = {},
): Promise<HostileNats> {
  const { chain, key } = await authority.issueServer({ hosts: ['127.0.0.1'] });
  const lines: string[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const greeting = {
    server_id: 'hostile',
    version: '2.10.0',
    proto: 1,
    headers: true,
    max_payload: 1_048_576,
    tls_required: true,
    tls_verify: true,
    jetstream: true,
    ...info,
  };
  const server = createServer((raw) => {
    connections += 1;
    sockets.add(raw);
    raw.on('error', () => undefined);
    raw.write(`INFO ${JSON.stringify(greeting)}\r\n`);
    const socket = new TLSSocket(raw, {
      isServer: true,
      cert: chain,
      key,
      ca: authority.pem,
      requestCert: true,
    });
    sockets.add(socket);
    socket.on('error', () => undefined);
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      for (let end = text.indexOf('\r\n'); end >= 0; end = text.indexOf('\r\n')) {
        const line = text.slice(0, end);
        text = text.slice(end + 2);
        lines.push(line);
        if (line === 'PING') socket.write('PONG\r\n');
        act(line, (bytes) => socket.write(bytes), socket);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return atEnd({
    port: (server.address() as AddressInfo).port,
    lines,
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
