/**
 * Signals are handled as soon as this module is loaded. It is loaded first: loading the others takes a tenth of a second,
 * in which a signal would end the process without a log line.
 *
 * SIGTERM and SIGINT stop the daemon, SIGHUP reloads the configuration. SIGUSR1 and SIGUSR2 do nothing in
 * any command: without a listener, SIGUSR1 opens Node's debugger to local users, and SIGUSR2 ends the process.
 */
for (const name of ['SIGUSR1', 'SIGUSR2'] as const) process.on(name, () => undefined);
// A signal during the start of Node has opened it already, except in the single executable, which never opens it.
if (process.getBuiltinModule('node:sea')?.isSea() !== true) closeDebugger();

function closeDebugger(): void {
  if (process.execArgv.some((option) => option.startsWith('--inspect'))) return;
  const { close, url } = process.getBuiltinModule('node:inspector');
  if (url() !== undefined) close();
}

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

/** The first signal that requests a stop. */
export function stopSignal(): Promise<NodeJS.Signals> {
  return first;
}

/** Resolves at the next SIGHUP, or at once if one has arrived since the last call. For one caller at a time. */
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

/** Lets pending signals arrive. @returns the signal that has requested a stop; null: none */
export async function signalSoFar(): Promise<NodeJS.Signals | null> {
  // The event loop handles signals before immediates.
  await new Promise((resolve) => setImmediate(resolve));
  return heard;
}

/** Restores the default behaviour of signals, also for one that has arrived already. */
export async function leaveSignals(): Promise<void> {
  const signal = (await signalSoFar()) ?? (isHungUp ? 'SIGHUP' : null);
  for (const name of names) process.removeListener(name, hear);
  process.removeListener('SIGHUP', hangUp);
  if (signal !== null) process.kill(process.pid, signal);
}
