import http from 'node:http';
import type { Socket } from 'node:net';
import { bareHost, loginOf, showProxy } from '../../config/proxy.ts';
import { observedFailure, proxyFailure } from '../../errors/networkProblem.ts';
import type { Server } from '../../errors/reasons.ts';
import { addressAttemptMs } from './attempts.ts';

/**
 * Opens a connection through an HTTP proxy (CONNECT).
 *
 * @param server whose connection it is, for the codes of failures
 * @param signal ends the attempt; an open connection is the caller's
 * @throws {OnboardingError} with a reason, and `proxy-refused` where the proxy does not open it
 */
export async function openTunnel(
  proxy: URL,
  target: { readonly host: string; readonly port: number },
  server: Server,
  signal: AbortSignal,
): Promise<Socket> {
  const authority = `${target.host.includes(':') ? `[${target.host}]` : target.host}:${target.port}`;
  const where = `the proxy ${showProxy(proxy)} on the way to ${authority}`;
  try {
    return await new Promise((resolve, reject) => {
      const request = http.request({
        host: bareHost(proxy),
        port: proxy.port || 80,
        method: 'CONNECT',
        path: authority,
        headers: { host: authority, ...proxyAuthorization(proxy) },
        agent: false,
        signal,
        autoSelectFamilyAttemptTimeout: addressAttemptMs,
      } as http.RequestOptions);
      request.on('error', reject);
      request.on('response', (response) => response.destroy());
      request.on('connect', ({ statusCode = 0 }, socket: Socket, head) => {
        if (statusCode >= 200 && statusCode < 300) {
          if (head.length > 0) socket.unshift(head);
          resolve(socket);
          return;
        }
        socket.destroy();
        const reason = statusCode === 407 && server === 'provisioning' ? 'http-407' : 'proxy-refused';
        const cause = statusCode === 407 ? 'it asks for a login' : 'it does not open the connection';
        reject(observedFailure(reason, server, where, `${cause}, HTTP ${statusCode}`));
      });
      request.end();
    });
  } catch (error) {
    throw proxyFailure(error, server, where);
  }
}

/** The login of a proxy's address. */
export function proxyAuthorization(proxy: URL): { 'proxy-authorization'?: string } {
  const login = loginOf(proxy);
  return login === null ? {} : { 'proxy-authorization': basic(login) };
}

/** @param login `user:password` */
export function basic(login: string): string {
  return `Basic ${Buffer.from(login).toString('base64')}`;
}
