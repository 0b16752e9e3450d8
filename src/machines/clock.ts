/** Time and chance come from outside, so that a whole life can be simulated. */
export interface Clock {
  /** Milliseconds since 1970 */
  readonly now: () => number;
  /** Uniform in [0, 1) */
  readonly random: () => number;
}
