import { type Finding, failedFor, passed, skipped } from './check.ts';
import type { Status } from './status.ts';

/**
 * What the daemon itself says of the files that it writes for other programs: `exports`, and if they fail
 * `metrics.textfile` and the status file, too.
 *
 * @param amount how many exports are configured
 * @returns null if there is nothing to say
 */
export function checkExports({ problems, certificate }: Status, amount: number): Finding | null {
  const [first] = problems;
  if (first !== undefined) {
    const all = problems.map(({ message }) => message).join('; ');
    const remedies = new Set(problems.map(({ remedy }) => remedy));
    return failedFor(first.code, first.reason, all, [...remedies].join(' '));
  }
  if (amount === 0) return null;
  if (certificate === null) return skipped('nothing is exported before the device has a certificate');
  return passed(`${amount} configured`);
}
