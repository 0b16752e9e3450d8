import { type StateName, stateNames } from '../../events.ts';
import {
  blockOf,
  count,
  type DeviceTally,
  type Latest,
  later,
  learn,
  type Moment,
  mergeDevice,
  newDevice,
  wrongClock,
} from './deviceTally.ts';
import { addToDevice, boundTimes, coarsenTimes, finestResolution, type Resolution } from './deviceTimes.ts';
import { addDistribution, addDuration, type Distribution, newDistribution } from './distribution.ts';
import type { LogLine } from './logLine.ts';
import { newSeenLines, type SeenLines } from './seenLines.ts';
import { addToTimeline, mergeTimeline, newTimeline, type Timeline } from './timeline.ts';

export interface ErrorTally {
  count: number;
  /** The latest cause, as an example */
  cause: Latest<string> | null;
  readonly steps: Map<string, number>;
  /** Failures by reason; those without one are not in it */
  readonly reasons: Map<string, number>;
}

/**
 * All that is kept of the lines of a fleet. Two tallies of any parts of the lines, merged, are the tally of all lines, in
 * whatever order they came.
 */
export interface Tally {
  lines: number;
  /** Lines that onboardd did not write */
  foreign: number;
  /** Lines that were read before */
  duplicates: number;
  /** Lines of devices past the limit */
  beyond: number;
  /** Lines with neither device id nor host */
  unnamed: number;
  readonly devices: Map<string, DeviceTally>;
  readonly events: Map<string, number>;
  readonly errors: Map<string, ErrorTally>;
  /** Milliseconds spent in a state, each time it was left */
  readonly steps: Map<StateName, Distribution>;
  /** From a start of the daemon to registered, the first time and after restarts alike */
  readonly toRegistered: Distribution;
  /** Failures by code, and `registered` */
  readonly timeline: Timeline;
  /** Of the `times` of all devices */
  readonly resolution: Resolution;
}

/** Which lines count, and which clocks are believed. Times are milliseconds since 1970. */
export interface Scope {
  /** A clock after this is wrong */
  readonly latest: number;
  /** Earlier lines are left out */
  readonly since: number | null;
  readonly device: string | null;
}

/** Before the first version of onboardd: a clock that shows less is wrong. */
const earliest = Date.UTC(2025, 0, 1);
const [hourMs, dayMs] = [3_600_000, 86_400_000];

/** Bounds of memory: a log may be forged. */
export const mostDevices = 200_000;
const mostKinds = 256;
const mostSteps = 16;
const mostReasons = 64;

export function newTally(): Tally {
  return {
    lines: 0,
    foreign: 0,
    duplicates: 0,
    beyond: 0,
    unnamed: 0,
    devices: new Map(),
    events: new Map(),
    errors: new Map(),
    steps: new Map(stateNames.map((name) => [name, newDistribution()])),
    toRegistered: newDistribution(),
    timeline: newTimeline(),
    resolution: finestResolution(),
  };
}

/** @returns what counts a line; null for a line that onboardd did not write */
export function newCounter(
  tally: Tally,
  scope: Scope,
  seen: SeenLines = newSeenLines(),
): (line: LogLine | null) => void {
  return (line) => {
    tally.lines++;
    if (line === null) {
      tally.foreign++;
      return;
    }
    const moment = momentOf(line, scope.latest);
    if (scope.device !== null && line.deviceId !== scope.device) return;
    if (scope.since !== null && moment.block !== wrongClock && moment.at < scope.since) return;
    const device = deviceOf(tally, line);
    if (device !== null) learn(device, line, moment);
    if (seen.add(line)) countLine(tally, device, line, moment);
    else tally.duplicates++;
  };
}

/** The device's own clock if it can be right, else the time of arrival. */
function momentOf({ at, received }: LogLine, latest: number): Moment {
  const own = at !== null && at >= earliest && at <= latest ? at : null;
  if (received === null) return own === null ? { at: at ?? 0, block: wrongClock } : momentAt(own);
  const arrived = received >= earliest && received <= latest ? received : null;
  if (arrived === null) return own === null ? { at: at ?? received, block: wrongClock } : momentAt(own);
  // A line can be stored long after it was written, but not before.
  return momentAt(own !== null && own < arrived + hourMs && own > arrived - 60 * dayMs ? own : arrived);
}

function momentAt(at: number): Moment {
  return { at, block: blockOf(at) };
}

/** A host that has not told a device id is a device by its name: `@name`. */
function deviceOf(tally: Tally, { deviceId, host, machine }: LogLine): DeviceTally | null {
  const key = deviceId ?? (host === null ? null : `@${machine ?? host}`);
  if (key === null) {
    tally.unnamed++;
    return null;
  }
  const known = tally.devices.get(key);
  if (known !== undefined) return known;
  if (tally.devices.size >= mostDevices) {
    tally.beyond++;
    return null;
  }
  const device = newDevice(key);
  tally.devices.set(key, device);
  return device;
}

function countLine(tally: Tally, device: DeviceTally | null, line: LogLine, moment: Moment): void {
  const { event, from, to, durationMs, code } = line;
  const weight = event === 'step.failed' ? 1 + (line.repeated ?? 0) : 1;
  if (tally.events.size < mostKinds || tally.events.has(event))
    tally.events.set(event, (tally.events.get(event) ?? 0) + 1);
  if (device !== null) count(device, line, moment, weight);
  if (event === 'state.changed' && from !== null && to !== null && durationMs !== null)
    addDuration(tally.steps.get(from) as Distribution, durationMs);
  if (event === 'device.registered') {
    if (durationMs !== null) addDuration(tally.toRegistered, durationMs);
    addTimes(tally, device, { what: 'registered', version: line.version ?? '' }, [moment, 1]);
  }
  // A permanent failure is logged twice: as step.failed and as device.failed. Only a start that fails is not.
  const isStart = event === 'device.failed' && line.deviceId === null;
  if (code !== null && (event === 'step.failed' || isStart)) addError(tally, device, line, [moment, weight]);
}

function addError(
  tally: Tally,
  device: DeviceTally | null,
  line: LogLine,
  [moment, weight]: readonly [Moment, number],
): void {
  const { code, cause, step, reason, version } = line;
  const name = code === null || (tally.errors.size >= mostKinds && !tally.errors.has(code)) ? 'OTHER' : code;
  const error = errorOf(tally, name);
  error.count += weight;
  if (cause !== null) error.cause = later(error.cause, moment.block === wrongClock ? 0 : moment.at, cause);
  if (step !== null) bump(error.steps, step, weight, mostSteps);
  if (reason !== null) bump(error.reasons, reason, weight, mostReasons);
  addTimes(tally, device, { what: name, version: version ?? '' }, [moment, weight]);
}

/** Puts what happened so often on the time axes of the fleet and of the device; a wrong clock has no place there. */
function addTimes(
  { timeline, resolution, devices }: Tally,
  device: DeviceTally | null,
  { what, version }: { readonly what: string; readonly version: string },
  [{ at, block }, weight]: readonly [Moment, number],
): void {
  if (block === wrongClock) return;
  addToTimeline(timeline, what, version, [at, weight]);
  if (device === null) return;
  addToDevice(resolution, device.times, { what, version }, [at, weight]);
  boundTimes(resolution, devices);
}

function errorOf({ errors }: Tally, name: string): ErrorTally {
  let error = errors.get(name);
  if (error === undefined) {
    error = { count: 0, cause: null, steps: new Map(), reasons: new Map() };
    errors.set(name, error);
  }
  return error;
}

function bump(counts: Map<string, number>, name: string, amount: number, most: number): void {
  if (counts.size < most || counts.has(name)) counts.set(name, (counts.get(name) ?? 0) + amount);
}

export function mergeTally(into: Tally, from: Tally): void {
  for (const name of ['lines', 'foreign', 'duplicates', 'beyond', 'unnamed'] as const)
    into[name] += from[name];
  const bucketMs = Math.max(into.resolution.bucketMs, from.resolution.bucketMs);
  for (const { resolution, devices } of [into, from]) coarsenTimes(resolution, devices, bucketMs);
  for (const [key, device] of from.devices) {
    const known = into.devices.get(key);
    if (known !== undefined) mergeDevice(known, device);
    else if (into.devices.size < mostDevices) into.devices.set(key, device);
    else into.beyond++;
  }
  // Counts anew what there is.
  coarsenTimes(into.resolution, into.devices, bucketMs);
  boundTimes(into.resolution, into.devices);
  for (const [event, amount] of from.events) bump(into.events, event, amount, mostKinds);
  for (const [name, error] of from.errors) {
    const known = errorOf(into, name);
    known.count += error.count;
    if (error.cause !== null) known.cause = later(known.cause, error.cause.at, error.cause.value);
    for (const [step, amount] of error.steps) bump(known.steps, step, amount, mostSteps);
    for (const [reason, amount] of error.reasons) bump(known.reasons, reason, amount, mostReasons);
  }
  for (const [state, distribution] of from.steps)
    addDistribution(into.steps.get(state) as Distribution, distribution);
  addDistribution(into.toRegistered, from.toRegistered);
  mergeTimeline(into.timeline, from.timeline);
}
