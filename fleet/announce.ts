import { hostname } from 'node:os';
import multicast from 'multicast-dns';
import { lanAddresses } from './addresses.ts';

const service = '_provisioning._tcp.local';
const instance = `TII Provisioning server.${service}`;
const ttl = 120;
const mdnsPort = 5353;

type Open = (address: string) => multicast.MulticastDNS;
// Bound to the address itself, a socket would hear no multicast on Linux.
const openOn: Open = (address) => multicast({ interface: address, bind: '0.0.0.0' });

/**
 * Announces the provisioning server by multicast DNS, as in protocol.md, part 5: on each network with the address that
 * this machine has there.
 *
 * @param addresses IPv4
 * @returns what ends it, after a goodbye
 */
export function announce(
  port: number,
  addresses: readonly string[],
  onError: (error: Error) => void,
  open: Open = openOn,
): () => Promise<void> {
  const ends = addresses.map((address) => announceOn(open(address), address, port, onError));
  return async () => {
    await Promise.all(ends.map((end) => end()));
  };
}

function announceOn(
  socket: multicast.MulticastDNS,
  address: string,
  port: number,
  onError: (error: Error) => void,
): () => Promise<void> {
  const host = `${hostname().split('.')[0] || 'workbench'}-fleet.local`;
  const answers = (lifetime: number) => [
    { name: service, type: 'PTR' as const, ttl: lifetime, data: instance },
    { name: instance, type: 'SRV' as const, ttl: lifetime, data: { target: host, port } },
    { name: host, type: 'A' as const, ttl: lifetime, data: address },
  ];
  const names = new Set([service, instance, host].map((name) => name.toLowerCase()));
  socket.on('error', onError);
  socket.on('query', ({ questions }, asker) => {
    // Names are compared without case (RFC 6762, 16).
    if (!questions.some(({ name }) => names.has(name.toLowerCase().replace(/\.$/, '')))) return;
    // Who asks from another port hears no multicast (6.7 there).
    if (asker.port === mdnsPort) socket.respond({ answers: answers(ttl) });
    else socket.respond({ answers: answers(ttl) }, asker);
  });
  socket.on('ready', () => socket.respond({ answers: answers(ttl) }));
  return () =>
    new Promise((resolve) => {
      socket.respond({ answers: answers(0) }, () => socket.destroy(() => resolve()));
    });
}

/** The IPv4 addresses to announce for a server that listens on `host`. */
export function announcedAddresses(host: string): string[] {
  const all = host === '0.0.0.0' || host === '::' ? lanAddresses() : [host];
  return all.filter((address) => !address.includes(':'));
}
