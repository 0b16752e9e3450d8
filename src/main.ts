// First, so that a signal is heard while the others load.
import './adapters/signals.ts';
import { format } from 'node:util';
import { exit } from './cli/options.ts';
import { runProgram } from './cli/program.ts';
import { excerpt } from './errors/onboardingError.ts';
import { plainText } from './text/plainText.ts';

declare const BUILD_VERSION: string | undefined;
declare const BUILD_TIME: number | undefined;
const version = typeof BUILD_VERSION === 'undefined' ? '0.0.0' : BUILD_VERSION;
const builtAt = typeof BUILD_TIME === 'undefined' ? 0 : BUILD_TIME;

// `ps`, `top` and `pidof` otherwise name the runtime, or a thread of it.
process.title = 'onboardd';

// nats.js prints now and then, also what a server sent; standard output belongs to the log.
console.log = console.info = (...parts: unknown[]) => console.error(plainText(excerpt(format(...parts))));

runProgram(process.argv, { version, builtAt }).then(
  (code) => {
    process.exitCode = code;
    // A look-up of a name or a connection that is being closed must not hold the process.
    setTimeout(() => process.exit(code), 100).unref();
  },
  (error: unknown) => {
    const told = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.stderr.write(`onboardd: ${told.split('\n').map(plainText).join('\n')}\n`);
    process.exit(exit.failed);
  },
);
