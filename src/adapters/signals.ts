import { close, url } from 'node:inspector';

/**
 * Signals, heard from the moment that this module is loaded: first of all, since loading the others takes a tenth of a
 * second, in which a signal would end the process without a word.
 *
 * SIGTERM and SIGINT stop the daemon, SIGHUP has it read its configuration again. SIGUSR1 and SIGUSR2 do nothing, to
 * any command: without a listener the one opens Node's debugger to whoever is on the machine, the other ends the process.
 */
for (const name of ['SIGUSR1', 'SIGUSR2'] as const) process.on(name, () => undefined);
// One that came while Node itself was starting has opened it already.
if (!process.execArgv.some((option) => option.startsWith('--inspect')) && url() !== undefined) close();

const names = ['SIGTERM', 'SIGINT'] as const;
let heard: NodeJS.Signals | null = null;
let hear: (signal: NodeJS.Signals) => void = () => {};
const first = new Promise<NodeJS.Signals>((resolve) => {
  hear = (signal) => {
    heard ??= signal;
    resolve(signal);
  };
});
let isHungUp = false;
let tellHangup: () => void = () => {};
const hangUp = () => {
  isHungUp = true;
  tellHangup();
};
for (const name of names) process.on(name, hear);
process.on('SIGHUP', hangUp);

/** The signal that asked to stop, the first of them. */
export function stopSignal(): Promise<NodeJS.Signals> {
  return first;
}

/** Resolves once SIGHUP has come since the last time, at once where it has already. One waits at a time. */
export function reloadSignal(): Promise<'SIGHUP'> {
  return new Promise((resolve) => {
    tellHangup = () => {
      if (!isHungUp) return;
      isHungUp = false;
      tellHangup = () => {};
      resolve('SIGHUP');
    };
    tellHangup();
  });
}

/** Lets what has arrived be heard. @returns the signal that asked to stop so far */
export async function signalSoFar(): Promise<NodeJS.Signals | null> {
  // The loop looks for signals before it runs immediates.
  await new Promise((resolve) => setImmediate(resolve));
  return heard;
}

/** Leaves the signals to do what they do to any command, one that was heard already included. */
export async function leaveSignals(): Promise<void> {
  const signal = (await signalSoFar()) ?? (isHungUp ? 'SIGHUP' : null);
  for (const name of names) process.removeListener(name, hear);
  process.removeListener('SIGHUP', hangUp);
  if (signal !== null) process.kill(process.pid, signal);
}
