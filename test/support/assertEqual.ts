import { isDeepStrictEqual } from 'node:util';

/** @throws {Error} which names the expectation, where it does not hold */
export function check(what: string, is: unknown, wanted: unknown): void {
  if (!isDeepStrictEqual(is, wanted))
    throw new Error(`${what}: ${JSON.stringify(is)} instead of ${JSON.stringify(wanted)}`);
}
