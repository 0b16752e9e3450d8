import { OnboardingError } from '../errors/onboardingError.ts';

/** Failures after which the next server of the list is tried. One that refuses is asked again; one that talks nonsense is not. */
const movesOn: ReadonlySet<string> = new Set([
  'PROVISIONING_UNREACHABLE',
  'PROVISIONING_TIMEOUT',
  'PROVISIONING_TLS',
  'PROVISIONING_ANSWER_INVALID',
]);

/**
 * Asks one server of a list with each call: the one that answered last, or the one behind the one that could not be
 * reached or whose answer was disowned. Nothing is tried again here: the statechart calls once for each attempt.
 *
 * @param list the servers, or a function that finds them, called each time
 * @param ask one request to one server; throws an OnboardingError
 */
export function inTurn<Server, Answer extends object>(
  list: readonly [Server, ...Server[]] | ((signal: AbortSignal) => Promise<readonly [Server, ...Server[]]>),
  ask: (server: Server, json: string, signal: AbortSignal) => Promise<Answer>,
): (json: string, signal: AbortSignal) => Promise<Answer & { readonly disown: () => void }> {
  let next = 0;
  return async (json, signal) => {
    const servers = typeof list === 'function' ? await list(signal) : list;
    const index = next % servers.length;
    const disown = () => {
      next = (index + 1) % servers.length;
    };
    try {
      return { ...(await ask(servers[index] ?? servers[0], json, signal)), disown };
    } catch (error) {
      if (error instanceof OnboardingError && movesOn.has(error.code)) disown();
      throw error;
    }
  };
}
