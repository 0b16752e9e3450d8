/** The system's clocks and random numbers. */
export const systemClock = {
  now: () => Date.now(),
  random: () => Math.random(),
  /** Milliseconds of the monotonic clock, for durations */
  monotonic: () => Math.round(performance.now()),
} as const;

const lookEveryMs = 1_000;
/** Smaller differences are timers that are late on a busy machine, not clock steps. */
const stepMs = 5_000;

/** Calls back once after this many milliseconds. @returns a function that cancels it */
export function setTimer(ms: number, call: () => void): () => void {
  const timer = setTimeout(call, ms);
  return () => clearTimeout(timer);
}

/**
 * Calls back when the wall clock jumps: it was set, or the device was suspended.
 *
 * @param since the wall clock a moment ago, milliseconds since 1970
 * @returns a function that ends the watch
 */
export function watchForSteps(since: number, onStep: () => void): () => void {
  let last = since;
  const look = (elapsedMs: number) => {
    const now = Date.now();
    if (Math.abs(now - last - elapsedMs) > stepMs) onStep();
    last = now;
  };
  const first = setImmediate(look, 0);
  const timer = setInterval(look, lookEveryMs, lookEveryMs);
  return () => {
    clearImmediate(first);
    clearInterval(timer);
  };
}
