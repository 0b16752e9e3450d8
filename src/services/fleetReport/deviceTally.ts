import { type StateName, stateNames } from '../../events.ts';
import { type DeviceTimes, mergeTimes } from './deviceTimes.ts';
import type { LogLine } from './logLine.ts';

/**
 * What one device wrote, in a form in which the order of lines does not matter: counts, extremes and sets. Times are
 * milliseconds since 1970.
 */
export interface DeviceTally {
  readonly key: string;
  host: string | null;
  machine: string | null;
  /** Bit n: it was in `stateNames[n]`. */
  reached: number;
  failures: number;
  registrations: number;
  starts: number;
  heartbeats: number;
  readonly codes: Map<string, number>;
  /** Failures by code, and registrations, over time; without those of a wrong clock */
  readonly times: DeviceTimes[];
  readonly eras: Era[];
  /** The latest visits, the oldest first: index in `stateNames`, when it was entered, how long it lasted; three numbers each */
  readonly visits: number[];
  /** The earliest `device.registered` */
  firstRegistered: { readonly at: number; readonly durationMs: number | null } | null;
  /** The earliest entry into `registered` from a state in which there was something to do */
  firstOnboarded: number | null;
}

/** About a month of a device, so that a month with a wrong clock can be told from the others at the end. */
export interface Era {
  /** `blockOf` its times; -1: the clock was certainly wrong */
  readonly block: number;
  lines: number;
  first: number;
  last: number;
  state: Latest<StateName> | null;
  entered: Latest<StateName> | null;
  failed: Latest<string> | null;
  cause: Latest<string> | null;
  alias: Latest<string> | null;
  version: Latest<string> | null;
  /** When it was last in `registered` */
  registeredAt: number | null;
  stoppedAt: number | null;
}

/** Changed in place, and so never shared. */
export interface Latest<Value> {
  at: number;
  value: Value;
}

/** A line's time, and whether it is to be believed. */
export interface Moment {
  readonly at: number;
  readonly block: number;
}

export const wrongClock = -1;
const blockMs = 32 * 86_400_000;
export const blockOf = (at: number) => Math.floor(at / blockMs);
const mostVisits = 24;
const mostCodes = 64;
const mostEras = 64;

export function newDevice(key: string): DeviceTally {
  return {
    key,
    host: null,
    machine: null,
    reached: 0,
    failures: 0,
    registrations: 0,
    starts: 0,
    heartbeats: 0,
    codes: new Map(),
    times: [],
    eras: [],
    visits: [],
    firstRegistered: null,
    firstOnboarded: null,
  };
}

function eraOf(device: DeviceTally, block: number): Era {
  for (const era of device.eras) if (era.block === block) return era;
  const era: Era = {
    block,
    lines: 0,
    first: Number.POSITIVE_INFINITY,
    last: Number.NEGATIVE_INFINITY,
    state: null,
    entered: null,
    failed: null,
    cause: null,
    alias: null,
    version: null,
    registeredAt: null,
    stoppedAt: null,
  };
  // Past the limit only a forged log comes: it is read, and forgotten.
  if (device.eras.length < mostEras) device.eras.push(era);
  return era;
}

/** What does not change if the line comes twice. */
export function learn(device: DeviceTally, line: LogLine, { at, block }: Moment): void {
  const { event, state, from, to, host, machine } = line;
  if (host !== null && (device.host === null || host < device.host)) device.host = host;
  if (machine !== null && (device.machine === null || machine < device.machine)) device.machine = machine;
  const era = eraOf(device, block);
  if (at < era.first) era.first = at;
  if (at > era.last) era.last = at;
  const now = to ?? state;
  if (now !== null) {
    device.reached |= 1 << stateNames.indexOf(now);
    era.state = laterState(era.state, at, now);
    if (now === 'registered') era.registeredAt = Math.max(era.registeredAt ?? at, at);
  }
  if (line.version !== null) era.version = later(era.version, at, line.version);
  if (event === 'state.changed' && to !== null) {
    era.entered = laterState(era.entered, at, to);
    if (from !== null) {
      device.reached |= 1 << stateNames.indexOf(from);
      if (from === 'registered') era.registeredAt = Math.max(era.registeredAt ?? at, at);
      if (to === 'registered' && from !== 'idle' && at < (device.firstOnboarded ?? Number.POSITIVE_INFINITY))
        device.firstOnboarded = at;
    }
  } else if (event === 'step.failed') {
    if (line.code !== null) era.failed = later(era.failed, at, line.code);
    if (line.cause !== null) era.cause = later(era.cause, at, line.cause);
  } else if (event === 'device.registered') {
    if (line.alias !== null) era.alias = later(era.alias, at, line.alias);
    device.firstRegistered = earlier(device.firstRegistered, { at, durationMs: line.durationMs });
  } else if (event === 'daemon.stopped') era.stoppedAt = Math.max(era.stoppedAt ?? at, at);
}

/** What is counted once for each line. @param weight how many failures it stands for */
export function count(device: DeviceTally, line: LogLine, { at, block }: Moment, weight: number): void {
  const { event, from, durationMs, code } = line;
  eraOf(device, block).lines++;
  if (event === 'step.failed') device.failures += weight;
  else if (event === 'device.registered') device.registrations++;
  else if (event === 'daemon.started') device.starts++;
  else if (event === 'daemon.heartbeat') device.heartbeats++;
  else if (event === 'state.changed' && from !== null && durationMs !== null)
    addVisit(device, stateNames.indexOf(from), at - durationMs, durationMs);
  if (code !== null && (event === 'step.failed' || event === 'device.failed'))
    addCode(device, code, event === 'step.failed' ? weight : 0);
}

function addCode(device: DeviceTally, code: string, amount: number): void {
  if (device.codes.size < mostCodes || device.codes.has(code))
    device.codes.set(code, (device.codes.get(code) ?? 0) + amount);
}

function addVisit({ visits }: DeviceTally, state: number, at: number, durationMs: number): void {
  visits.push(state, at, durationMs);
  for (let index = visits.length - 3; index > 0 && isAfterNext(visits, index - 3); index -= 3)
    for (let field = index; field < index + 3; field++) {
      const value = visits[field] as number;
      visits[field] = visits[field - 3] as number;
      visits[field - 3] = value;
    }
  if (visits.length > mostVisits * 3) visits.splice(0, 3);
}

/** Whether a visit sorts after the one behind it: by time, then state, then duration. */
function isAfterNext(visits: readonly number[], index: number): boolean {
  for (const field of visitOrder) {
    const [value, next] = [visits[index + field] as number, visits[index + 3 + field] as number];
    if (value !== next) return value > next;
  }
  return false;
}

const visitOrder = [1, 0, 2];

export function mergeDevice(into: DeviceTally, from: DeviceTally): void {
  if (from.host !== null && (into.host === null || from.host < into.host)) into.host = from.host;
  if (from.machine !== null && (into.machine === null || from.machine < into.machine))
    into.machine = from.machine;
  into.reached |= from.reached;
  into.failures += from.failures;
  into.registrations += from.registrations;
  into.starts += from.starts;
  into.heartbeats += from.heartbeats;
  for (const [code, amount] of from.codes) addCode(into, code, amount);
  mergeTimes(into.times, from.times);
  for (const era of from.eras) mergeEra(eraOf(into, era.block), era);
  for (let index = 0; index < from.visits.length; index += 3) {
    const [state = 0, at = 0, durationMs = 0] = from.visits.slice(index, index + 3);
    addVisit(into, state, at, durationMs);
  }
  if (from.firstRegistered !== null)
    into.firstRegistered = earlier(into.firstRegistered, from.firstRegistered);
  into.firstOnboarded = least(into.firstOnboarded, from.firstOnboarded);
}

function mergeEra(into: Era, from: Era): void {
  into.lines += from.lines;
  into.first = Math.min(into.first, from.first);
  into.last = Math.max(into.last, from.last);
  if (from.state !== null) into.state = laterState(into.state, from.state.at, from.state.value);
  if (from.entered !== null) into.entered = laterState(into.entered, from.entered.at, from.entered.value);
  for (const name of ['failed', 'cause', 'alias', 'version'] as const) {
    const value = from[name];
    if (value !== null) into[name] = later(into[name], value.at, value.value);
  }
  into.registeredAt = most(into.registeredAt, from.registeredAt);
  into.stoppedAt = most(into.stoppedAt, from.stoppedAt);
}

export function least(a: number | null, b: number | null): number | null {
  return a === null ? b : b === null ? a : Math.min(a, b);
}

export function most(a: number | null, b: number | null): number | null {
  return a === null ? b : b === null ? a : Math.max(a, b);
}

function earlier(
  known: DeviceTally['firstRegistered'],
  other: NonNullable<DeviceTally['firstRegistered']>,
): DeviceTally['firstRegistered'] {
  if (known === null || other.at < known.at) return other;
  return other.at === known.at && (other.durationMs ?? -1) < (known.durationMs ?? -1) ? other : known;
}

/** Of two in the same millisecond, the one that sorts last. */
export function later(known: Latest<string> | null, at: number, value: string): Latest<string> {
  if (known === null) return { at, value };
  if (at > known.at || (at === known.at && value > known.value)) {
    known.at = at;
    known.value = value;
  }
  return known;
}

/** Of two in the same millisecond, the one that is further on. */
function laterState(known: Latest<StateName> | null, at: number, value: StateName): Latest<StateName> {
  if (known === null) return { at, value };
  if (at > known.at || (at === known.at && stateNames.indexOf(value) > stateNames.indexOf(known.value))) {
    known.at = at;
    known.value = value;
  }
  return known;
}
