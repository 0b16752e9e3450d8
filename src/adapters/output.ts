import { describe } from '../errors/onboardingError.ts';
import { plainText } from '../text/plainText.ts';

let isLost = false;
let isLog = false;

/**
 * Whoever reads standard output or standard error may go away, as head(1) does, or their disk may be full. Either must not
 * look like a bug, nor end a command halfway or with a status that is not its own: only a command whose output was
 * lost, other than to a reader that went away, ends with 1 in place of 0.
 */
export function guardOutput(): void {
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || isLog || isLost) return;
    isLost = true;
    process.stderr.write(`onboardd: cannot write to standard output: ${plainText(describe(error))}\n`);
  });
  process.on('exit', (code) => {
    if (isLost && code === 0) process.exitCode = 1;
  });
}

/** Standard output is the log of the daemon, which goes on without it. */
export function outputIsLog(): void {
  isLog = true;
}
