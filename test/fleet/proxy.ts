import { createServer, request } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

export interface ProxyOptions {
  /** `user:password` that it wants; none by default */
  login?: string;
  /** Hosts and ports that it does not open, whatever the login */
  refuses?: string;
}

export interface ForwardProxy {
  /** `http://127.0.0.1:port`, without a login */
  readonly url: string;
  readonly port: number;
  /** Every request: the method and what it asked for, as it came */
  readonly requests: { readonly method: string; readonly target: string; readonly login: string | null }[];
  stop(): Promise<void>;
}

/** A forward proxy on 127.0.0.1: absolute-form requests, and CONNECT. */
export async function startProxy({ login, refuses }: ProxyOptions = {}): Promise<ForwardProxy> {
  const requests: ForwardProxy['requests'] = [];
  const sockets = new Set<Socket>();
  const loginOf = (header: string | undefined) =>
    header === undefined ? null : Buffer.from(header.replace(/^Basic /, ''), 'base64').toString();
  const server = createServer((incoming, outgoing) => {
    const { method = '', url: target = '', headers } = incoming;
    const given = loginOf(headers['proxy-authorization']);
    requests.push({ method, target, login: given });
    if (login !== undefined && given !== login) {
      outgoing.writeHead(407, { 'proxy-authenticate': 'Basic' }).end();
      return;
    }
    const { 'proxy-authorization': _, ...rest } = headers;
    const onward = request(target, { method, headers: rest, agent: false }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on('error', () => outgoing.writeHead(502).end());
    incoming.pipe(onward);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('connect', (incoming, near: Socket, head: Buffer) => {
    const { url: target = '', headers } = incoming;
    const given = loginOf(headers['proxy-authorization']);
    requests.push({ method: 'CONNECT', target, login: given });
    if (login !== undefined && given !== login) {
      near.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      return;
    }
    if (target === refuses) {
      near.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      return;
    }
    const { hostname, port } = new URL(`http://${target}`);
    const far = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 80) });
    sockets.add(far);
    far.once('close', () => sockets.delete(far));
    far.on('error', () => near.destroy());
    far.once('connect', () => {
      near.write('HTTP/1.1 200 Connection established\r\n\r\n');
      far.write(head);
      near.pipe(far).pipe(near);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    async stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
