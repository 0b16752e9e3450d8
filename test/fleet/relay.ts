import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

const sliceBytes = 1024;
const mostQueuedBytes = 256 * 1024;

export interface RelayOptions {
  to: { host: string; port: number };
  /** one way, milliseconds; 0 by default */
  delayMs?: number;
  /** one way and per connection; unlimited by default */
  bytesPerSecond?: number;
  /** Segments are lost and sent again, as TCP does: each with this chance holds up its direction for `afterMs`. */
  loss?: { chance: number; afterMs: number; random: () => number };
  /** Called whenever bytes were passed on, with how many there have been: the place to cut or freeze in mid-talk. */
  onBytes?: (bytes: number) => void;
}

export interface Relay {
  readonly host: string;
  readonly port: number;
  /** Settable at any time, for what arrives from then on. */
  delayMs: number;
  bytesPerSecond: number;
  /** How many connections are open, and how many there have been. */
  readonly open: number;
  readonly opened: number;
  /** Bytes passed on, both ways together. */
  readonly bytes: number;
  /** Resets all connections; new ones are refused until `mend()`, or taken at once where `refuse` is false. */
  cut(options?: { refuse?: boolean }): Promise<void>;
  /** Half-open links: connections stay and are taken, nothing is passed on until `mend()`. */
  freeze(): void;
  /** Ends `cut` and `freeze`; what a frozen link had kept back is passed on. */
  mend(): Promise<void>;
  stop(): Promise<void>;
}

/** A TCP relay on a free port of 127.0.0.1 that makes a slow, broken or silent link of a good one. */
export async function startRelay({
  to,
  delayMs = 0,
  bytesPerSecond = Infinity,
  loss,
  onBytes = () => {},
}: RelayOptions): Promise<Relay> {
  const link = { delayMs, bytesPerSecond, frozen: false, bytes: 0, loss, onBytes };
  const connections = new Set<Connection>();
  let opened = 0;
  const server = createServer({ allowHalfOpen: true }, (near) => {
    opened += 1;
    const far = connect({ ...to, allowHalfOpen: true });
    const connection = { sockets: [near, far], lanes: [carry(near, far, link), carry(far, near, link)] };
    connections.add(connection);
    for (const socket of connection.sockets) {
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.once('close', (hadError) => {
        if (hadError) resetAll(connection);
        if (near.destroyed) connections.delete(connection);
      });
    }
  });
  const reset = () => {
    for (const connection of connections) resetAll(connection);
  };
  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => {
        server.off('error', reject);
        resolve();
      });
    });
  const close = async () => {
    if (!server.listening) return reset();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    reset();
    await closed;
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;

  return {
    host: '127.0.0.1',
    port,
    get delayMs() {
      return link.delayMs;
    },
    set delayMs(value) {
      link.delayMs = value;
    },
    get bytesPerSecond() {
      return link.bytesPerSecond;
    },
    set bytesPerSecond(value) {
      link.bytesPerSecond = value;
    },
    get open() {
      return connections.size;
    },
    get opened() {
      return opened;
    },
    get bytes() {
      return link.bytes;
    },
    async cut({ refuse = true } = {}) {
      if (refuse) await close();
      else reset();
    },
    freeze() {
      link.frozen = true;
    },
    async mend() {
      link.frozen = false;
      for (const { lanes } of connections) for (const lane of lanes) lane.go();
      if (!server.listening) await listen(port);
    },
    stop: close,
  };
}

interface Link {
  delayMs: number;
  bytesPerSecond: number;
  frozen: boolean;
  bytes: number;
  readonly loss: RelayOptions['loss'];
  readonly onBytes: (bytes: number) => void;
}

interface Connection {
  sockets: Socket[];
  lanes: Lane[];
}

function resetAll({ sockets }: Connection): void {
  for (const socket of sockets) if (!socket.destroyed) socket.resetAndDestroy();
}

interface Lane {
  /** Takes up again what waits. */
  go(): void;
}

/** Passes on one direction of a connection, its end included, in order. */
function carry(from: Socket, to: Socket, link: Link): Lane {
  const queue: { due: number; data: Buffer | 'end' }[] = [];
  let queued = 0;
  let freeAt = 0;
  let timer: NodeJS.Timeout | undefined;

  function go(): void {
    clearTimeout(timer);
    timer = undefined;
    while (!link.frozen && !to.destroyed) {
      const [head] = queue;
      if (head === undefined) break;
      const wait = head.due - Date.now();
      if (wait > 0) {
        timer = setTimeout(go, wait);
        return;
      }
      queue.shift();
      pass(head.data);
    }
  }

  function pass(data: Buffer | 'end'): void {
    if (data === 'end') {
      to.end();
      return;
    }
    to.write(data);
    queued -= data.length;
    link.bytes += data.length;
    link.onBytes(link.bytes);
    if (queued < mostQueuedBytes) from.resume();
  }

  function put(data: Buffer | 'end'): void {
    const bytes = data === 'end' ? 0 : data.length;
    const now = Date.now();
    const lost = link.loss !== undefined && link.loss.random() < link.loss.chance;
    freeAt =
      Math.max(freeAt, now) + (bytes / link.bytesPerSecond) * 1000 + (lost ? (link.loss?.afterMs ?? 0) : 0);
    queue.push({ due: freeAt + link.delayMs, data });
    queued += bytes;
    if (queued >= mostQueuedBytes) from.pause();
  }

  from.on('data', (data) => {
    const slice = Number.isFinite(link.bytesPerSecond) || link.loss ? sliceBytes : data.length;
    for (let at = 0; at < data.length; at += slice) put(data.subarray(at, at + slice));
    if (timer === undefined) go();
  });
  from.on('end', () => {
    put('end');
    if (timer === undefined) go();
  });
  to.once('close', () => clearTimeout(timer));
  return { go };
}
