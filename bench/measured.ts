import type { AtRest } from './atRest.ts';
import type { Counts, Loaded } from './counts.ts';
import type { DependencyCost } from './dependencies.ts';
import type { RestWear, StepWear } from './diskWear.ts';
import type { LatencyRow } from './latency.ts';

/** Where and of what was measured. */
export interface Setting {
  readonly commit: string;
  readonly machine: string;
  readonly command: string;
  readonly runs: number;
  /** Name and what runs */
  readonly programs: readonly (readonly [name: string, what: string])[];
}

export interface CountRow extends Counts {
  readonly name: string;
  /** Milliseconds more for each millisecond of round trip */
  readonly timedRoundTrips: number;
}

/** Everything that the bench measures; what was not asked for is null. */
export interface Measured {
  readonly setting: Setting;
  readonly latency: readonly LatencyRow[] | null;
  readonly dependencies: readonly DependencyCost[] | null;
  readonly counts: readonly CountRow[] | null;
  readonly loaded: Loaded | null;
  readonly bundleBytes: number;
  readonly atRest: readonly AtRest[] | null;
  /** A failed attempt of the checkout; of an onboarding it is among the counts */
  readonly failedAttempt: StepWear | null;
  /** What the checkout writes once it is registered */
  readonly restWear: RestWear | null;
}
