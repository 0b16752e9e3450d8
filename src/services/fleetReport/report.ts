import { type StateName, stateNames } from '../../events.ts';
import type { DeviceTally, Era } from './deviceTally.ts';
import type { DeviceTimes } from './deviceTimes.ts';
import { addDuration, type Distribution, newDistribution } from './distribution.ts';
import { onePerMachine, trustedBlocks } from './judgeTally.ts';
import type { ErrorTally, Tally } from './tally.ts';

/**
 * `registered`; `onboarding`: on its way; `stuck`: it writes, and has not been registered for long; `silent`: it should
 * have written, and has not.
 */
export const standings = ['silent', 'stuck', 'onboarding', 'registered'] as const;
export type Standing = (typeof standings)[number];

/** What the logs say of one device. Times in milliseconds since 1970; null if its clock was wrong. */
export interface DeviceStory {
  /** Null: the host has not told a device id */
  readonly id: string | null;
  readonly host: string | null;
  readonly alias: string | null;
  readonly version: string | null;
  readonly standing: Standing;
  readonly state: StateName | null;
  /** How long in this state, up to the newest line of all */
  readonly inStateMs: number;
  /** How long not registered; 0 for a registered one */
  readonly unregisteredMs: number;
  readonly first: number | null;
  readonly last: number | null;
  /** The last thing it told was an orderly stop */
  readonly isStopped: boolean;
  /** Bit n: it was in `stateNames[n]`. */
  readonly reached: number;
  readonly failures: number;
  readonly registrations: number;
  readonly starts: number;
  readonly lastCode: string | null;
  readonly lastCause: string | null;
  readonly codes: ReadonlyMap<string, number>;
  /** Failures by code, and registrations, over time, in buckets of the report's `deviceBucketMs` */
  readonly times: readonly DeviceTimes[];
  /** As in `DeviceTally` */
  readonly visits: readonly number[];
}

export interface ErrorCount extends ErrorTally {
  readonly devices: number;
}

export interface VersionCount {
  readonly devices: number;
  readonly registered: number;
  /** Devices that failed at least once */
  readonly failing: number;
  readonly failures: number;
}

export interface Report
  extends Pick<
    Tally,
    'lines' | 'foreign' | 'duplicates' | 'beyond' | 'unnamed' | 'events' | 'steps' | 'timeline'
  > {
  /** The oldest and the newest line whose time is trusted; null: there is none */
  readonly first: number | null;
  readonly last: number | null;
  readonly devices: readonly DeviceStory[];
  readonly deviceBucketMs: number;
  /** Device ids that a reset replaced by another one of the same machine; they are not in `devices` */
  readonly replaced: number;
  /** Lines that a device with a wrong clock wrote, and devices that did */
  readonly wrongClock: { readonly lines: number; readonly devices: number };
  readonly errors: ReadonlyMap<string, ErrorCount>;
  /** From a start of the daemon to registered, the first time of each device */
  readonly toRegistered: Distribution;
  /** The same after a restart of a device that had been registered, or whose log begins later */
  readonly restarts: Distribution;
  /** By the version that a device runs now; '' if it is not known */
  readonly versions: ReadonlyMap<string, VersionCount>;
}

const [secondMs, hourMs] = [1000, 3_600_000];
/** A heartbeat comes once a day: two are missing. */
const heartbeatMs = 50 * hourMs;

/** @param stuckAfterMs how long a device may stay unregistered, or not write while it is */
export function summarize(tally: Tally, stuckAfterMs: number): Report {
  const trusted = trustedBlocks(tally.devices.values());
  const isTrusted = ({ block }: Era) => trusted.has(block);
  const eras = [...tally.devices.values()].flatMap((device) => device.eras);
  const [first, last] = eras
    .filter(isTrusted)
    .reduce<[number, number]>(
      ([a, b], era) => [Math.min(a, era.first), Math.max(b, era.last)],
      [Infinity, -Infinity],
    );
  const newest = last === -Infinity ? null : last;
  const { machines, replaced } = onePerMachine([...tally.devices.values()], trusted);
  const devices = machines
    .map((device) => storyOf(device, isTrusted, { newest, stuckAfterMs }))
    .sort((a, b) => compareText(a.id ?? a.host ?? '', b.id ?? b.host ?? ''));
  const wrong = eras.filter((era) => !isTrusted(era));
  const { toRegistered, restarts } = registrations(tally);
  const { lines, foreign, duplicates, beyond, unnamed, events, steps, timeline } = tally;
  return {
    ...{ lines, foreign, duplicates, beyond, unnamed, events, steps, timeline },
    first: newest === null ? null : first,
    last: newest,
    devices,
    deviceBucketMs: tally.resolution.bucketMs,
    replaced,
    wrongClock: {
      lines: wrong.reduce((sum, era) => sum + era.lines, 0),
      devices: [...tally.devices.values()].filter((device) => device.eras.some((era) => !isTrusted(era)))
        .length,
    },
    errors: errorsOf(tally, machines),
    toRegistered,
    restarts,
    versions: versionsOf(devices),
  };
}

function storyOf(
  device: DeviceTally,
  isTrusted: (era: Era) => boolean,
  { newest, stuckAfterMs }: { newest: number | null; stuckAfterMs: number },
): DeviceStory {
  // A wrong clock sorts before a right one: what a device tells with a right clock is later.
  const sorted = [...device.eras].sort(
    (a, b) => Number(isTrusted(a)) - Number(isTrusted(b)) || a.block - b.block,
  );
  const latest = <Name extends keyof Era>(name: Name): [Era, NonNullable<Era[Name]>] | null => {
    const era = sorted.findLast((one) => one[name] !== null);
    return era === undefined ? null : [era, era[name] as NonNullable<Era[Name]>];
  };
  const own = sorted.filter(isTrusted);
  const clock = own.length > 0 ? own : sorted;
  const [firstAt, lastAt] = [clock[0]?.first ?? 0, clock.at(-1)?.last ?? 0];
  // Without one time to be believed, only its own clock tells how long something took.
  const now = own.length > 0 && newest !== null ? newest : lastAt;
  const state = latest('state')?.[1].value ?? null;
  const entered = latest('entered');
  const since =
    entered !== null && entered[1].value === state && clock.includes(entered[0]) ? entered[1].at : firstAt;
  const registered = latest('registeredAt');
  const unregisteredSince = registered !== null && clock.includes(registered[0]) ? registered[1] : firstAt;
  const unregisteredMs = state === 'registered' ? 0 : Math.max(0, now - unregisteredSince);
  const failed = latest('failed');
  const isOver =
    failed === null || (state !== 'failed' && entered !== null && isLater(sorted, entered, failed));
  const id = device.key.startsWith('@') ? null : device.key;
  const quietMs = now - lastAt;
  return {
    id,
    host: device.host,
    alias: latest('alias')?.[1].value ?? null,
    version: latest('version')?.[1].value ?? null,
    standing: standingOf(device, state, { quietMs, unregisteredMs, stuckAfterMs }),
    state,
    inStateMs: Math.max(0, now - since),
    unregisteredMs,
    first: own.length > 0 ? firstAt : null,
    last: own.length > 0 ? lastAt : null,
    isStopped: latest('stoppedAt')?.[1] === lastAt,
    reached: device.reached,
    failures: device.failures,
    registrations: device.registrations,
    starts: device.starts,
    lastCode: isOver ? null : (failed?.[1].value ?? null),
    lastCause: isOver ? null : (latest('cause')?.[1].value ?? null),
    codes: device.codes,
    times: device.times,
    visits: device.visits,
  };
}

/** Whether something came after another thing. */
function isLater(
  eras: readonly Era[],
  [era, one]: [Era, { at: number }],
  [other, two]: [Era, { at: number }],
) {
  return era === other ? one.at >= two.at : eras.indexOf(era) > eras.indexOf(other);
}

function standingOf(
  { heartbeats }: DeviceTally,
  state: StateName | null,
  { quietMs, unregisteredMs, stuckAfterMs }: Record<'quietMs' | 'unregisteredMs' | 'stuckAfterMs', number>,
): Standing {
  if (state === 'registered') return heartbeats > 0 && quietMs >= heartbeatMs ? 'silent' : 'registered';
  if (quietMs >= stuckAfterMs) return 'silent';
  return unregisteredMs >= stuckAfterMs ? 'stuck' : 'onboarding';
}

/** A first onboarding went to `registered` from a state in which there was something to do. */
function registrations({ devices, toRegistered: all }: Tally): Pick<Report, 'toRegistered' | 'restarts'> {
  const toRegistered = newDistribution();
  const restarts: Distribution = { ...all, buckets: [...all.buckets], max: 0 };
  for (const { firstRegistered, firstOnboarded } of devices.values()) {
    if (firstRegistered === null || firstOnboarded === null || firstRegistered.durationMs === null) continue;
    if (Math.abs(firstRegistered.at - firstOnboarded) > secondMs) continue;
    addDuration(toRegistered, firstRegistered.durationMs);
  }
  for (const [bucket, amount = 0] of toRegistered.buckets.entries())
    if (amount > 0) restarts.buckets[bucket] = (restarts.buckets[bucket] ?? 0) - amount;
  restarts.count -= toRegistered.count;
  const highest = restarts.buckets.findLastIndex((amount) => (amount ?? 0) > 0);
  restarts.max = highest < 0 ? 0 : Math.min(all.max, Math.round(1.02 ** (highest + 1)));
  return { toRegistered, restarts };
}

function errorsOf({ errors }: Tally, devices: readonly DeviceTally[]): Map<string, ErrorCount> {
  const counts = new Map<string, number>();
  for (const { codes } of devices)
    for (const code of codes.keys()) counts.set(code, (counts.get(code) ?? 0) + 1);
  return new Map([...errors].map(([code, error]) => [code, { ...error, devices: counts.get(code) ?? 0 }]));
}

function versionsOf(devices: readonly DeviceStory[]): Map<string, VersionCount> {
  const versions = new Map<string, VersionCount>();
  for (const { version, state, failures } of devices) {
    const known = versions.get(version ?? '') ?? { devices: 0, registered: 0, failing: 0, failures: 0 };
    versions.set(version ?? '', {
      devices: known.devices + 1,
      registered: known.registered + Number(state === 'registered'),
      failing: known.failing + Number(failures > 0),
      failures: known.failures + failures,
    });
  }
  return new Map([...versions].sort(([a], [b]) => compareText(a, b)));
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The reasons of an error, the most frequent first. */
export function topReasons({ reasons }: ErrorTally, most: number): [reason: string, count: number][] {
  return [...reasons].sort(([x, a], [y, b]) => b - a || compareText(x, y)).slice(0, most);
}

/** Errors, the most frequent first. */
export function topErrors({ errors }: Report): [code: string, error: ErrorCount][] {
  return [...errors].sort(([x, a], [y, b]) => b.count - a.count || compareText(x, y));
}

/**
 * How many devices reached each state. A device that was seen in a later state counts for the earlier ones too, since
 * its log may begin after them. `failed` is outside this order.
 */
export function funnel({ devices }: Report): { state: StateName; reached: number; now: number }[] {
  const rows = stateNames.map((state) => ({ state, reached: 0, now: 0 }));
  const failed = 1 << stateNames.indexOf('failed');
  for (const { reached, state } of devices) {
    for (const [index, row] of rows.entries()) {
      const here = 1 << index;
      if (here === failed ? (reached & failed) !== 0 : (reached & ~failed) >= here) row.reached++;
      if (row.state === state) row.now++;
    }
  }
  return rows;
}

/** Devices of a standing, the longest unregistered first. */
export function devicesThat({ devices }: Report, standing: Standing): DeviceStory[] {
  return devices
    .filter((device) => device.standing === standing)
    .sort((a, b) => b.unregisteredMs - a.unregisteredMs || (a.last ?? 0) - (b.last ?? 0));
}
