/**
 * SIGTERM and SIGINT, heard from the moment that this module is loaded: first of all, since loading the others takes a
 * tenth of a second, in which a signal would end the process without a word.
 */
const names = ['SIGTERM', 'SIGINT'] as const;
let heard: NodeJS.Signals | null = null;
let hear: (signal: NodeJS.Signals) => void = () => {};
const first = new Promise<NodeJS.Signals>((resolve) => {
  hear = (signal) => {
    heard ??= signal;
    resolve(signal);
  };
});
for (const name of names) process.on(name, hear);

/** The signal that asked to stop, the first of them. */
export function stopSignal(): Promise<NodeJS.Signals> {
  return first;
}

/** Lets what has arrived be heard. @returns the signal that asked to stop so far */
export async function signalSoFar(): Promise<NodeJS.Signals | null> {
  // The loop looks for signals before it runs immediates.
  await new Promise((resolve) => setImmediate(resolve));
  return heard;
}

/** Leaves the signals to do what they do to any command, one that was heard already included. */
export async function leaveSignals(): Promise<void> {
  const signal = await signalSoFar();
  for (const name of names) process.removeListener(name, hear);
  if (signal !== null) process.kill(process.pid, signal);
}
