import { BlockList, isIP } from 'node:net';

/** What the environment says of proxies, as curl and Go read it; null: not set. */
export interface ProxyVariables {
  readonly http: string | null;
  readonly https: string | null;
  /** Names, domains, addresses and networks that are reached without one */
  readonly no: string | null;
}

export const noProxies: ProxyVariables = { http: null, https: null, no: null };

/** The variables that are read; lower case wins, as with curl. */
export const proxyNames = ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'no_proxy', 'NO_PROXY'];

export function proxyVariables(environment: Readonly<Record<string, string | undefined>>): ProxyVariables {
  const read = (name: string) => environment[name] || environment[name.toUpperCase()] || null;
  return { http: read('http_proxy'), https: read('https_proxy'), no: read('no_proxy') };
}

/**
 * Parses the address of a proxy; without a scheme it is `http:`, as with curl.
 *
 * @returns null if the text is not a proxy URL, or its scheme is not `http:`
 */
export function parseProxy(text: string): URL | null {
  const whole = text.includes('://') ? text : `http://${text}`;
  if (!URL.canParse(whole)) return null;
  const url = new URL(whole);
  return url.protocol === 'http:' && url.hostname !== '' ? url : null;
}

/**
 * The proxy for one request.
 *
 * @param configured `provisioning.proxy`: an address, `off`, or null: the environment decides
 * @throws {TypeError} where a variable that is due holds no address of a proxy; without its credentials
 */
export function proxyFor(url: URL, configured: string | null, variables: ProxyVariables): URL | null {
  if (configured === 'off') return null;
  if (configured !== null) return parseProxy(configured);
  const isSecure = url.protocol === 'https:';
  const named = isSecure ? variables.https : variables.http;
  if (named === null || isExcepted(url, variables.no ?? '')) return null;
  const proxy = parseProxy(named);
  if (proxy === null)
    throw new TypeError(
      `${isSecure ? 'HTTPS_PROXY' : 'HTTP_PROXY'} is no proxy of the form http://host:port`,
    );
  return proxy;
}

/** The address as it may be shown and logged. */
export function showProxy({ hostname, port }: URL): string {
  return `${hostname}:${port || 80}`;
}

/** NO_PROXY: names with their subdomains, addresses, networks, each perhaps with a port; `*` is everything. */
function isExcepted(url: URL, list: string): boolean {
  const host = bareHost(url).toLowerCase().replace(/\.$/, '');
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  const entries = list.toLowerCase().split(/[\s,]+/);
  return entries.some((entry) => entry === '*' || (entry !== '' && covers(entry, host, port)));
}

function covers(entry: string, host: string, port: string): boolean {
  const [, bracketed, plain, onlyPort] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(entry) ?? [];
  if (onlyPort !== undefined && onlyPort !== port) return false;
  const name = bracketed ?? plain ?? entry;
  if (isIP(host) > 0) return coversAddress(name, host);
  const domain = name.replace(/^\*?\./, '').replace(/\.$/, '');
  return domain !== '' && (host === domain || host.endsWith(`.${domain}`));
}

function coversAddress(network: string, host: string): boolean {
  const [address = '', prefix, ...rest] = network.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0 || version !== isIP(host)) return false;
  const bits = prefix === undefined ? (version === 4 ? 32 : 128) : Number(prefix);
  if (!Number.isInteger(bits) || bits < 0 || bits > (version === 4 ? 32 : 128)) return false;
  const family = version === 4 ? 'ipv4' : 'ipv6';
  const block = new BlockList();
  block.addSubnet(address, bits, family);
  return block.check(host, family);
}

/** `user:password` of a URL, decoded; null: it has neither. A `%` that begins no escape stands for itself, as with curl. */
export function loginOf({ username, password }: URL): string | null {
  if (username === '' && password === '') return null;
  return [username, password].map(decoded).join(':');
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Host name or address of a URL, without the brackets of IPv6. */
export function bareHost({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '');
}
