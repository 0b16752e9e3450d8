import { type StateName, stateNames } from '../../events.ts';
import { addDuration, type Distribution, newDistribution } from './distribution.ts';
import type { LogLine } from './logLine.ts';

/** What the logs say of one device. Times in milliseconds since 1970. */
export interface DeviceStory {
  readonly id: string;
  readonly first: number;
  last: number;
  state: StateName | null;
  since: number;
  /** Bit n: it was in `stateNames[n]`. */
  reached: number;
  failures: number;
  registrations: number;
  lastCode: string | null;
  lastCause: string | null;
  alias: string | null;
  /** The latest visits: state, when entered, how long; without the current one. */
  readonly visits: [state: StateName, at: number, durationMs: number][];
  /** Index of each code that it had, as bits. */
  codes: bigint;
}

export interface ErrorCount {
  count: number;
  devices: number;
  /** The latest cause, as an example */
  cause: string | null;
  readonly steps: Map<string, number>;
  /** Failures by reason; those without one are not in it */
  readonly reasons: Map<string, number>;
}

export interface Report {
  lines: number;
  /** Lines that onboardd did not write */
  foreign: number;
  /** Lines of devices past the limit */
  beyond: number;
  /** Lines written before the device id is known */
  unnamed: number;
  first: number;
  last: number;
  readonly devices: Map<string, DeviceStory>;
  readonly events: Map<string, number>;
  readonly errors: Map<string, ErrorCount>;
  /** Milliseconds spent in a state, each time it was left */
  readonly steps: Map<StateName, Distribution>;
  /** From a start of the daemon to registered */
  readonly toRegistered: Distribution;
}

/** Bounds of memory: a log may be forged. */
export const mostDevices = 200_000;
const mostVisits = 24;
const mostKinds = 256;
const mostSteps = 16;
const mostReasons = 64;

export function newReport(): Report {
  return {
    lines: 0,
    foreign: 0,
    beyond: 0,
    unnamed: 0,
    first: Number.POSITIVE_INFINITY,
    last: Number.NEGATIVE_INFINITY,
    devices: new Map(),
    events: new Map(),
    errors: new Map(),
    steps: new Map(stateNames.map((name) => [name, newDistribution()])),
    toRegistered: newDistribution(),
  };
}

/** Counts one line. @param line null for a line that onboardd did not write */
export function addLine(report: Report, line: LogLine | null): void {
  report.lines++;
  if (line === null) {
    report.foreign++;
    return;
  }
  if (line.at < report.first) report.first = line.at;
  if (line.at > report.last) report.last = line.at;
  if (report.events.size < mostKinds || report.events.has(line.event))
    report.events.set(line.event, (report.events.get(line.event) ?? 0) + 1);
  const device = deviceOf(report, line);
  if (device) addToDevice(report, device, line);
  // A permanent failure is logged twice: as step.failed and as device.failed.
  if (line.code !== null && (line.event === 'step.failed' || (line.event === 'device.failed' && !device)))
    addError(report, device, line);
}

function deviceOf(report: Report, { deviceId, host, at }: LogLine): DeviceStory | null {
  const id = deviceId ?? (host === null ? null : report.devices.get(`host ${host}`)?.id);
  if (id == null) {
    report.unnamed++;
    return null;
  }
  const known = report.devices.get(id);
  if (known) return known;
  if (report.devices.size >= mostDevices) {
    report.beyond++;
    return null;
  }
  const device: DeviceStory = {
    id,
    first: at,
    last: at,
    state: null,
    since: at,
    reached: 0,
    failures: 0,
    registrations: 0,
    lastCode: null,
    lastCause: null,
    alias: null,
    visits: [],
    codes: 0n,
  };
  report.devices.set(id, device);
  return device;
}

function addToDevice(report: Report, device: DeviceStory, line: LogLine): void {
  const { event, at, from, to, durationMs, state } = line;
  device.last = Math.max(device.last, at);
  if (event === 'state.changed' && to !== null) {
    if (from !== null) {
      reach(device, from);
      if (durationMs !== null) {
        const distribution = report.steps.get(from);
        if (distribution) addDuration(distribution, durationMs);
        device.visits.push([from, at - durationMs, durationMs]);
        if (device.visits.length > mostVisits) device.visits.shift();
      }
    }
    enter(device, to, at);
  } else if (state !== null && state !== device.state) {
    enter(device, state, at);
  }
  if (event === 'step.failed') {
    device.failures++;
    device.lastCode = line.code;
    device.lastCause = line.cause;
  } else if (event === 'device.registered') {
    device.registrations++;
    device.alias = line.alias;
    if (durationMs !== null) addDuration(report.toRegistered, durationMs);
  }
}

function enter(device: DeviceStory, state: StateName, at: number): void {
  reach(device, state);
  // The errors of earlier steps are over.
  if (state !== 'failed' && state !== device.state) device.lastCode = device.lastCause = null;
  device.state = state;
  device.since = at;
}

function reach(device: DeviceStory, state: StateName): void {
  device.reached |= 1 << stateNames.indexOf(state);
}

function addError(report: Report, device: DeviceStory | null, { code, reason, cause, step }: LogLine): void {
  const { errors } = report;
  const name = code === null || (errors.size >= mostKinds && !errors.has(code)) ? 'OTHER' : code;
  let error = errors.get(name);
  if (!error) {
    error = { count: 0, devices: 0, cause: null, steps: new Map(), reasons: new Map() };
    errors.set(name, error);
  }
  error.count++;
  error.cause = cause ?? error.cause;
  if (step !== null && (error.steps.size < mostSteps || error.steps.has(step)))
    error.steps.set(step, (error.steps.get(step) ?? 0) + 1);
  if (reason !== null && (error.reasons.size < mostReasons || error.reasons.has(reason)))
    error.reasons.set(reason, (error.reasons.get(reason) ?? 0) + 1);
  if (!device) return;
  const bit = 1n << BigInt([...errors.keys()].indexOf(name));
  if ((device.codes & bit) !== 0n) return;
  device.codes |= bit;
  error.devices++;
}

/** The reasons of an error, the most frequent first. */
export function topReasons({ reasons }: ErrorCount, most: number): [reason: string, count: number][] {
  return [...reasons].sort(([, a], [, b]) => b - a).slice(0, most);
}

/**
 * How many devices reached each state. A device that was seen in a later state counts for the earlier ones too, since
 * its log may begin after them. `failed` is outside this order.
 */
export function funnel({ devices }: Report): { state: StateName; reached: number; now: number }[] {
  const rows = stateNames.map((state) => ({ state, reached: 0, now: 0 }));
  const failed = 1 << stateNames.indexOf('failed');
  for (const { reached, state } of devices.values()) {
    for (const [index, row] of rows.entries()) {
      const here = 1 << index;
      if (here === failed ? (reached & failed) !== 0 : (reached & ~failed) >= here) row.reached++;
      if (row.state === state) row.now++;
    }
  }
  return rows;
}

/**
 * Devices that are not registered and have been in one state for `afterMs` or more, the longest first.
 *
 * @param afterMs measured up to the newest line of the log
 */
export function stuck({ devices, last }: Report, afterMs: number): DeviceStory[] {
  return [...devices.values()]
    .filter(({ state, since }) => state !== null && state !== 'registered' && last - since >= afterMs)
    .sort((a, b) => a.since - b.since);
}
