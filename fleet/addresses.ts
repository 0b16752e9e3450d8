import { hostname, networkInterfaces } from 'node:os';

/** Addresses at which other machines may reach this one, IPv4 first; those of one link only are left out. */
export function lanAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all
    .filter(({ internal, address }) => !internal && !/^fe[89ab]/i.test(address))
    .sort((one, other) => one.family.localeCompare(other.family))
    .map(({ address }) => address);
}

/** Where a server that listens on `host` can be reached: addresses and names, the best for others first. */
export function reachableAt(host: string): string[] {
  const here = ['127.0.0.1', 'localhost'];
  if (host === '127.0.0.1' || host === 'localhost' || host === '::1') return [host, ...here];
  const isAny = host === '0.0.0.0' || host === '::';
  const lan = isAny ? lanAddresses().filter((address) => host === '::' || !address.includes(':')) : [host];
  const name = hostname();
  return [...new Set([...lan, name, `${name}.local`, ...here])];
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

/** `host:port`, with brackets around an IPv6 address */
export function hostAndPort(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
