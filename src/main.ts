// First, so that signals are handled while the other modules load.
import './adapters/signals.ts';
// Second: without a launcher before it, this begins the key of a new device on another thread.
import './adapters/earlyKey.ts';
import { format } from 'node:util';
import { endProcess } from './adapters/endProcess.ts';
import { guardOutput } from './adapters/output.ts';
import { reportBug } from './adapters/stackTrace.ts';
import { exit } from './cli/options.ts';
import { runProgram } from './cli/program.ts';
import { excerpt } from './errors/onboardingError.ts';
import { plainText } from './text/plainText.ts';

declare const BUILD_VERSION: string | undefined;
declare const BUILD_TIME: number | undefined;
const version = typeof BUILD_VERSION === 'undefined' ? '0.0.0' : BUILD_VERSION;
const builtAt = typeof BUILD_TIME === 'undefined' ? 0 : BUILD_TIME;

/** What a process that ends may leave to the kernel; timers of ours are none that anybody waits for. */
const passing: ReadonlySet<string> = new Set(['Immediate', 'TCPSocketWrap', 'Timeout', 'TLSWrap']);

// `ps`, `top` and `pidof` otherwise name the runtime, or a thread of it.
process.title = 'onboardd';

// nats.js sometimes prints, even text of a server; standard output is only for the log.
console.log = console.info = (...parts: unknown[]) => console.error(plainText(excerpt(format(...parts))));

process.on('uncaughtException', endOfBug);
guardOutput();

runProgram(process.argv, { version, builtAt }).then((code) => {
  process.exitCode = code;
  const end = () => endProcess(code);
  // A pending name look-up or a closing connection must not keep the process alive.
  setTimeout(end, 100).unref();
  if (isAllDone()) end();
}, endOfBug);

/**
 * Whether nothing is left to be written and no child to be waited for. To end then, and not to let Node take its heap apart
 * before, saves some ten milliseconds.
 */
function isAllDone(): boolean {
  const isWritten = [process.stdout, process.stderr].every(({ writableLength }) => writableLength === 0);
  return isWritten && process.getActiveResourcesInfo().every((resource) => passing.has(resource));
}

function endOfBug(error: unknown): void {
  reportBug(error);
  process.exit(exit.failed);
}
