import { OnboardingError } from '../errors/onboardingError.ts';

/** Failures after which the next server of the list is tried; any HTTP answer ends the search. */
const movesOn: ReadonlySet<string> = new Set([
  'PROVISIONING_UNREACHABLE',
  'PROVISIONING_TIMEOUT',
  'PROVISIONING_TLS',
]);

/**
 * Asks one server of a list with each call: the one that answered last, or the one behind the one that could not be
 * reached. Nothing is tried again here: the statechart calls once for each attempt.
 *
 * @param list the servers, or a function that finds them, called each time
 * @param ask one request to one server; throws an OnboardingError
 */
export function inTurn<Server, Answer>(
  list: readonly [Server, ...Server[]] | ((signal: AbortSignal) => Promise<readonly [Server, ...Server[]]>),
  ask: (server: Server, json: string, signal: AbortSignal) => Promise<Answer>,
): (json: string, signal: AbortSignal) => Promise<Answer> {
  let next = 0;
  return async (json, signal) => {
    const servers = typeof list === 'function' ? await list(signal) : list;
    const index = next % servers.length;
    try {
      return await ask(servers[index] ?? servers[0], json, signal);
    } catch (error) {
      if (error instanceof OnboardingError && movesOn.has(error.code)) next = (index + 1) % servers.length;
      throw error;
    }
  };
}
