import type { LookupAddress } from 'node:dns';
import { isIP, type LookupFunction, type Socket } from 'node:net';
import { networkFailure } from '../../errors/networkProblem.ts';
import type { OnboardingError } from '../../errors/onboardingError.ts';
import type { Server } from '../../errors/reasons.ts';

/**
 * Each address of a name gets this long, milliseconds. Node's own 250 are less than one handshake of a satellite link
 * (600 ms): a name with one more address that has no route then never connects.
 */
export const addressAttemptMs = 2_500;

/** What a socket did to reach a name. */
export interface Attempts {
  /** Every address that was tried */
  readonly tried: Set<string>;
  /** The name server has not answered yet */
  isUnresolved: boolean;
}

/**
 * Addresses that had their time and did not answer: a limit of 10 seconds ends at the fourth such address, and the next
 * connection begins with those behind it.
 */
const silent = new Set<string>();
const mostSilent = 100;

/**
 * For a socket by a name: the addresses that stayed silent before come last, of each family: Node takes the families in turn.
 */
export const lookUpSilentLast: LookupFunction = (host, options, callback) => {
  // Loaded once a name is looked up: an address needs none of it.
  import('node:dns')
    .then(({ default: dns }) =>
      dns.lookup(host, options, (error, found: string | LookupAddress[], family?: number) =>
        callback(error, Array.isArray(found) ? silentLast(found) : found, family),
      ),
    )
    .catch((refused: NodeJS.ErrnoException) => callback(refused, []));
};

function silentLast(found: readonly LookupAddress[]): LookupAddress[] {
  const others = found.filter(({ address }) => !silent.has(address));
  const last = found.filter(({ address }) => silent.has(address));
  // Each had its time: the resolver's order holds again.
  if (others.length === 0) for (const { address } of last) silent.delete(address);
  return [...others, ...last];
}

/** Follows a socket on its way to a name. Call it before the socket connects. */
export function noteAttempts(socket: Socket, host: string, attempts: Attempts = noAttempts()): Attempts {
  if (isIP(host) > 0) return attempts;
  attempts.isUnresolved = socket.connecting;
  socket.once('lookup', () => {
    attempts.isUnresolved = false;
  });
  socket.on('connectionAttempt', (address: string) => attempts.tried.add(address));
  socket.on('connectionAttemptTimeout', (address: string) => {
    if (silent.size >= mostSilent) silent.clear();
    silent.add(address);
  });
  socket.on('connect', () => silent.delete(socket.remoteAddress ?? ''));
  return attempts;
}

export function noAttempts(): Attempts {
  return { tried: new Set(), isUnresolved: false };
}

/**
 * The words for the addresses that were tried, to follow the server's name; empty if the error names them one by one, or
 * none was tried.
 */
export function triedWords(error: unknown, { tried }: Attempts): string {
  const isNamed = error instanceof AggregateError || tried.size === 0;
  return isNamed ? '' : ` (tried ${[...tried].join(', ')})`;
}

/** Of a connection whose time was up while the name server had not answered: that is what is wrong, not the server. */
export function unlessUnresolved(
  failure: OnboardingError,
  { isUnresolved }: Attempts,
  server: Server,
  where: string,
): OnboardingError {
  if (failure.reason !== 'timeout' || !isUnresolved) return failure;
  const silence = Object.assign(new Error('no answer in time'), { code: 'EAI_AGAIN' });
  return networkFailure(silence, server, where);
}
