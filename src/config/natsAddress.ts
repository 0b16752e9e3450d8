import { isIPv6 } from 'node:net';

/** One NATS server. `host` without brackets; `user` and `password`, or `token`, only if the address has them. */
export interface NatsAddress {
  readonly host: string;
  readonly port: number;
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
}

export const defaultNatsPort = 4222;
/** Characters: 64 servers with long names and credentials fit. */
const longestList = 64 * 1024;
/** Limit of a part that a message shows */
const longestShown = 40;

/**
 * Parses `nats://host:port`, `tls://host:port`, `host:port` or a bare `host`, one or a comma-separated cluster of
 * them (protocol.md, part 1). Parsed here because nats.js takes the last of a list, dials 127.0.0.1 for an empty text
 * and port 1234 for `user:1234pw@host`.
 *
 * @throws {TypeError} one line that says what is wrong, without credentials
 */
export function parseNatsAddresses(text: string): NatsAddress[] {
  if (text.length > longestList)
    throw new TypeError(`the NATS address is longer than ${longestList} characters`);
  const parts = text.split(',').map((part) => part.trim());
  const named = parts.filter((part) => part !== '');
  if (named.length === 0) throw new TypeError('the NATS address is empty');
  if (named.length > 64) throw new TypeError('the NATS address names more than 64 servers');
  return named.map(parseOne);
}

function parseOne(text: string): NatsAddress {
  const [, scheme, rest = ''] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(text) ?? [];
  if (scheme !== undefined && !['nats', 'tls'].includes(scheme.toLowerCase())) {
    throw new TypeError(`the NATS address has the scheme "${shown(scheme)}"; nats:// and tls:// are allowed`);
  }
  const at = rest.lastIndexOf('@');
  const credentials = at < 0 ? {} : parseCredentials(rest.slice(0, at));
  const { host, port } = parseHost(rest.slice(at + 1).replace(/\/$/, ''));
  return { host, port, ...credentials };
}

function parseHost(text: string): { host: string; port: number } {
  // Node's expression for IPv6 takes two milliseconds to compile; one colon is that of a port.
  if (/:.*:/s.test(text) && isIPv6(text)) return { host: text, port: defaultNatsPort };
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(text);
  const plain = /^([a-z0-9](?:[a-z0-9._-]{0,252}))(?::(\d+))?$/i.exec(text);
  const [, host = '', port] = bracketed ?? plain ?? [];
  if (host === '' || (bracketed && !isIPv6(host))) {
    throw new TypeError('the NATS address has no valid host name or IP address');
  }
  const number = port === undefined ? defaultNatsPort : Number(port);
  if (!Number.isInteger(number) || number < 1 || number > 65535) {
    throw new TypeError(`the NATS address has the port ${shown(port ?? '')}; 1 to 65535 are allowed`);
  }
  return { host, port: number };
}

/** `user:password`, or a token, which has no colon. */
function parseCredentials(text: string): Pick<NatsAddress, 'user' | 'password' | 'token'> {
  const colon = text.indexOf(':');
  try {
    if (colon < 0) return { token: decodeURIComponent(text) };
    return {
      user: decodeURIComponent(text.slice(0, colon)),
      password: decodeURIComponent(text.slice(colon + 1)),
    };
  } catch {
    throw new TypeError('the NATS address has credentials that are not percent-encoded');
  }
}

function shown(part: string): string {
  return part.length > longestShown ? `${part.slice(0, longestShown - 1)}…` : part;
}

/** The address as it may be shown and logged. */
export function showNatsAddress({ host, port }: NatsAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
