import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { MulticastDNS, ResponsePacket } from 'multicast-dns';
import { networkFailure, observedFailure } from '../errors/networkProblem.ts';

/** The service, and the name under which the fleet's own server announces it. */
const service = '_provisioning._tcp.local';
const fleetInstance = 'tii provisioning server';
const askEveryMs = 1_000;
/** After the first server that is known in full; the fleet's own ends the wait at once. */
const graceMs = 500;
const longestMs = 5_000;
/** Whoever is on the network may answer, and as much as he likes. */
const mostRecords = 256;

/** What discovery needs of a socket, or of several. */
export type Multicast = Pick<MulticastDNS, 'on' | 'query' | 'destroy'>;

/** Opens the sockets; loaded only for a device that discovers its server. */
export type OpenMulticast = () => Promise<Multicast>;

const openMulticast: OpenMulticast = async () => {
  // multicast-dns asks for them in a callback of its own, where a failure (a sandbox without AF_NETLINK) ends the process.
  const addresses = linkAddresses();
  const { default: multicastDns } = await import('multicast-dns');
  // Bound to the address itself, a socket would hear no multicast on Linux.
  const sockets = addresses.map((address) => multicastDns({ interface: address, bind: '0.0.0.0' }));
  return together(sockets.length > 0 ? sockets : [multicastDns()]);
};

/**
 * The IPv4 address of this device on each of its networks. A single socket asks only where the default route leads, which
 * an isolated network is not.
 */
function linkAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((addresses = []) => {
    const first = addresses.find(({ family, internal }) => family === 'IPv4' && !internal);
    return first === undefined ? [] : [first.address];
  });
}

function together(sockets: readonly MulticastDNS[]): Multicast {
  const all: Multicast = {
    on(event: string, listener: (...args: never[]) => void) {
      for (const socket of sockets) socket.on(event as 'response', listener as never);
      return all as MulticastDNS;
    },
    query: ((questions) => {
      for (const socket of sockets) socket.query(questions);
    }) as MulticastDNS['query'],
    destroy() {
      for (const socket of sockets) socket.destroy();
    },
  };
  return all;
}

/**
 * Looks for provisioning servers by multicast DNS (DNS-SD).
 *
 * @returns base URLs, the fleet's own first
 * @throws {OnboardingError} PROVISIONING_UNREACHABLE, `not-discovered`: none within 5 seconds
 */
export async function discover(
  signal: AbortSignal,
  open: OpenMulticast = openMulticast,
): Promise<[string, ...string[]]> {
  let socket: Multicast | null = null;
  try {
    signal.throwIfAborted();
    socket = await open();
    const [first, ...rest] = await listen(socket, signal);
    if (first === undefined) throw observedFailure('not-discovered', 'provisioning', service);
    return [first, ...rest];
  } catch (error) {
    throw networkFailure(error, 'provisioning', 'multicast DNS');
  } finally {
    socket?.destroy();
  }
}

async function listen(socket: Multicast, signal: AbortSignal): Promise<string[]> {
  const entries = new Map<string, Entry>();
  const timers: NodeJS.Timeout[] = [];
  let onAbort = () => {};
  try {
    return await new Promise((resolve, reject) => {
      const end = () => resolve(serversIn([...entries.values()]).map(({ url }) => url));
      onAbort = () => reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      socket.on('error', reject);
      socket.on('response', (packet) => {
        const before = entries.size;
        for (const entry of entriesOf(packet))
          if (entries.size < mostRecords) entries.set(JSON.stringify(entry), entry);
        if (entries.size === before) return;
        const known = [...entries.values()];
        const [best] = serversIn(known);
        if (best?.isFleets) end();
        else if (best === undefined) ask(socket, known);
        else timers.push(setTimeout(end, graceMs));
      });
      timers.push(setTimeout(end, longestMs));
      timers.push(setInterval(() => ask(socket, [...entries.values()]), askEveryMs));
      ask(socket, []);
    });
  } finally {
    for (const timer of timers) clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    socket.on('error', () => undefined);
  }
}

/** What a record says; names as they were written, since some responders answer only to those. */
type Entry =
  | { readonly type: 'PTR'; readonly instance: string }
  | { readonly type: 'SRV'; readonly instance: string; readonly host: string; readonly port: number }
  | { readonly type: 'A'; readonly host: string; readonly address: string };

function entriesOf({ answers, additionals }: ResponsePacket): Entry[] {
  return [...answers, ...additionals].flatMap((record): Entry[] => {
    const name = plainName(record.name);
    if (record.type === 'PTR' && name === service) return [{ type: 'PTR', instance: String(record.data) }];
    if (record.type === 'SRV' && name.endsWith(`.${service}`))
      return [{ type: 'SRV', instance: record.name, host: record.data.target, port: record.data.port }];
    const isAddress = (record.type === 'A' || record.type === 'AAAA') && isIP(record.data) > 0;
    // An address that is valid on one link only lacks the name of the link.
    return isAddress && !/^fe[89ab]/i.test(record.data)
      ? [{ type: 'A', host: record.name, address: record.data }]
      : [];
  });
}

function plainName(name: unknown): string {
  return String(name).toLowerCase().replace(/\.$/, '');
}

/** Servers that are known in full; IPv4 before IPv6, the fleet's own first. */
function serversIn(entries: readonly Entry[]): { readonly url: string; readonly isFleets: boolean }[] {
  const addresses = entries
    .filter((entry) => entry.type === 'A')
    .sort((a, b) => isIP(a.address) - isIP(b.address));
  const found = entries.flatMap((entry) => {
    if (entry.type !== 'SRV' || entry.port === 0) return [];
    const place = addresses.find(({ host }) => plainName(host) === plainName(entry.host))?.address;
    if (place === undefined) return [];
    const url = `http://${place.includes(':') ? `[${place}]` : place}:${entry.port}`;
    return [{ url, isFleets: plainName(entry.instance) === `${fleetInstance}.${service}` }];
  });
  return found.sort((a, b) => Number(b.isFleets) - Number(a.isFleets));
}

/** Asks for the service, and for what is still missing of the instances that answered. */
function ask(socket: Multicast, entries: readonly Entry[]): void {
  const instances = entries.flatMap((entry) => (entry.type === 'PTR' ? [entry.instance] : []));
  const hosts = entries.flatMap((entry) => (entry.type === 'SRV' ? [entry.host] : []));
  socket.query([
    { name: service, type: 'PTR' },
    ...instances.map((name) => ({ name, type: 'SRV' as const })),
    ...hosts.map((name) => ({ name, type: 'A' as const })),
  ]);
}
