/** The system's clock, as the rest of the program sees time and chance. */
export const systemClock = {
  now: () => Date.now(),
  random: () => Math.random(),
  /** Milliseconds that no clock step changes, for durations */
  monotonic: () => Math.round(performance.now()),
} as const;

const lookEveryMs = 1_000;
/** Timers are late on a busy machine; a clock that is set moves further than that. */
const stepMs = 5_000;

/** Calls back once after so many milliseconds. @returns a function that calls it off */
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
