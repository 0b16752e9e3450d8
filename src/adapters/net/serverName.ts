import { isIP } from 'node:net';

/**
 * The name for SNI: no address, and no dot at the end, with which Go's servers end the handshake (RFC 6066, 3).
 *
 * @param host name or address
 */
export function serverName(host: string): { servername?: string } {
  return isIP(host) === 0 ? { servername: host.replace(/\.$/, '') } : {};
}
