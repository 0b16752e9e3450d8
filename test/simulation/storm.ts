import type { Config } from '../../src/config/schema.ts';
import { type LogContext, startDaemon } from '../../src/daemon/daemon.ts';
import { backoffMs } from '../../src/machines/backoff.ts';
import { type Chance, chanceOf } from '../support/chance.ts';
import { memoryDirectory } from '../support/memoryDirectory.ts';
import { createFleet, type SimulatedFleet } from './fleet.ts';
import { createLoop, type Loop, settled } from './loop.ts';
import * as pki from './pki.ts';
import type { natsFaults, Plan, provisioningFaults } from './plan.ts';

/** A fleet that is down when all its devices power on, and comes back. Times in milliseconds. */
export interface Storm {
  readonly devices: number;
  readonly seed: number;
  readonly retry: Config['retry'];
  /** Devices power on within this time. */
  readonly powerOnMs: number;
  readonly downMs: number;
  /** Requests that the provisioning server answers in a second; more get HTTP 503. */
  readonly capacity: number;
}

export interface StormCurve {
  /** Requests that reached the provisioning server, by second */
  readonly requests: number[];
  /** Certificates issued, by second */
  readonly issued: number[];
  /** How many devices have how many certificates; one each, or something is wrong. */
  readonly certificatesPerDevice: ReadonlyMap<number, number>;
}

const refusedAfterMs = 20;

const calm: Omit<Plan, 'seed' | 'failedAfterMs'> = {
  api: 'jetstream',
  certificateLifeMs: 365 * 86_400_000,
  roundTripMs: refusedAfterMs,
  loss: 0,
  clash: false,
  earlierLife: false,
  https: false,
  pinned: false,
  newKey: false,
  isRevoked: false,
  adversities: [],
};

/**
 * The storm of a million: each device is its own next attempt, and the waits are those of the machine (`backoffMs`).
 * That the whole machine behaves so, `machineStorm` shows with fewer.
 */
export function storm({ devices, seed, retry, powerOnMs, downMs, capacity }: Storm): StormCurve {
  const chance = chanceOf(seed, 'storm');
  const queue = createQueue(devices);
  const attempts = new Uint16Array(devices);
  const certificates = new Uint8Array(devices);
  const requests: number[] = [];
  const issued: number[] = [];
  for (let device = 0; device < devices; device++) queue.push(chance() * powerOnMs, device);
  for (let next = queue.pop(); next !== null; next = queue.pop()) {
    const { time, device } = next;
    const second = Math.floor(time / 1000);
    requests[second] = (requests[second] ?? 0) + 1;
    if (time >= downMs && (issued[second] ?? 0) < capacity) {
      issued[second] = (issued[second] ?? 0) + 1;
      certificates[device] = (certificates[device] ?? 0) + 1;
      continue;
    }
    const attempt = (attempts[device] ?? 0) + 1;
    attempts[device] = attempt;
    queue.push(time + refusedAfterMs + backoffMs(retry, attempt, chance()), device);
  }
  return {
    requests: filled(requests),
    issued: filled(issued),
    certificatesPerDevice: countsOf(certificates),
  };
}

interface Device {
  readonly loop: Loop;
  readonly fleet: SimulatedFleet;
  readonly chance: Chance;
  readonly index: number;
  readonly config: Config;
}

/** A device with the real machine and services, whose disk is memory. @returns a function that stops it */
function powerOn({ loop, fleet, chance, index, config }: Device, onLog: (event: string) => void): () => void {
  const logContext: LogContext = { deviceId: null, state: 'idle' };
  const after = (ms: number, call: () => void) => loop.at(loop.now() + ms, call);
  const world = {
    ...fleet,
    pki,
    post: (json: string, signal: AbortSignal) => fleet.post(json, signal, false),
    directory: memoryDirectory(),
    stageExport: () => null,
    newKey: async () => pki.keyPem(`key${index}`),
    randomUUID: () => `${index}-0`,
    connectTimeoutMs: 35_000,
    machine: () => ({ hardware: null, installation: null }),
    sha256: (text: string) => text,
    now: loop.now,
    monotonic: loop.now,
    random: chance,
    setTimer: after,
    // The clock is never set; a time that is long past looks as if it had been.
    watchForSteps: (since: number, onStep: () => void) =>
      loop.now() - since > 5_000 ? after(1000, onStep) : () => undefined,
    timers: {
      setTimeout: (call: () => void, ms: number) => after(ms, call),
      clearTimeout: (cancel: unknown) => (cancel as (() => void) | undefined)?.(),
    },
  };
  return startDaemon(world, { config, hostname: '', fleetCa: null, builtAt: 0 }, logContext, (_, event) =>
    onLog(event),
  ).stop;
}

/**
 * The hours of one device whose certificates live for so long.
 *
 * @param faults what the provisioning server does instead of signing, and the NATS server instead of taking connections
 * @returns how many certificates it asked for, hour by hour
 */
export async function requestsByHour(
  config: Config,
  certificateLifeMs: number,
  hours: number,
  faults: {
    provisioning?: (typeof provisioningFaults)[number];
    nats?: (typeof natsFaults)[number];
  } = {},
): Promise<number[]> {
  const loop = createLoop(Date.UTC(2026, 10, 23));
  const start = loop.now();
  const requests: number[] = Array.from({ length: hours }, () => 0);
  const fleet = createFleet({
    plan: { ...calm, seed: 1, failedAfterMs: config.retry.failedAfterMs, certificateLifeMs },
    loop,
    chance: chanceOf(1, 'fleet'),
    provisioningFault() {
      const hour = Math.floor((loop.now() - start) / 3_600_000);
      requests[hour] = (requests[hour] ?? 0) + 1;
      return faults.provisioning ?? null;
    },
    natsFault: () => faults.nats ?? null,
    managerFault: () => null,
    adversary: () => null,
    tell: () => undefined,
  });
  let stop = () => {};
  loop.at(start, () => {
    stop = powerOn({ loop, fleet, chance: chanceOf(1, 'device'), index: 1, config }, () => undefined);
  });
  await loop.run(
    start + hours * 3_600_000 - 1,
    () => false,
    () => undefined,
  );
  stop();
  await settled();
  return requests;
}

/** The same storm with the real machine and services of every device, in one simulated world. */
export async function machineStorm(config: Config, settings: Storm): Promise<StormCurve> {
  const { devices, seed, powerOnMs, downMs, capacity, retry } = settings;
  const loop = createLoop(Date.UTC(2026, 10, 23));
  const start = loop.now();
  const second = () => Math.floor((loop.now() - start) / 1000);
  const requests: number[] = [];
  const issued: number[] = [];
  const fleet = createFleet({
    plan: { ...calm, seed, failedAfterMs: retry.failedAfterMs },
    loop,
    chance: chanceOf(seed, 'fleet'),
    provisioningFault() {
      const now = second();
      requests[now] = (requests[now] ?? 0) + 1;
      if (loop.now() - start < downMs) return 'refused';
      if ((issued[now] ?? 0) >= capacity) return 'HTTP 500';
      issued[now] = (issued[now] ?? 0) + 1;
      return null;
    },
    natsFault: () => null,
    managerFault: () => null,
    adversary: () => null,
    tell: () => undefined,
  });
  const chance = chanceOf(seed, 'device');
  let registered = 0;
  const stops = Array.from({ length: devices }, (_, index) => {
    let stop = () => {};
    loop.at(start + chance() * powerOnMs, () => {
      stop = powerOn({ loop, fleet, chance, index, config: { ...config, retry } }, (event) => {
        if (event === 'device.registered') registered++;
      });
    });
    return () => stop();
  });
  await loop.run(
    start + 24 * 3_600_000,
    () => registered === devices,
    () => undefined,
  );
  for (const stop of stops) stop();
  await settled();
  const perKey = new Map<string, number>();
  for (const { key } of fleet.signed) perKey.set(key, (perKey.get(key) ?? 0) + 1);
  return {
    requests: filled(requests),
    issued: filled(issued),
    certificatesPerDevice: countsOf([...perKey.values()]),
  };
}

/** How the provisioning server fared from its return to the last certificate. */
export function loadOf({ requests, issued }: StormCurve, { downMs }: Storm) {
  const after = requests.slice(Math.floor(downMs / 1000), issued.length);
  const total = after.reduce((sum, count) => sum + count, 0);
  const mean = total / after.length;
  const peak = after.reduce((most, count) => Math.max(most, count), 0);
  return { peak, mean, ratio: peak / mean, seconds: after.length };
}

function filled(counts: number[]): number[] {
  return Array.from(counts, (count) => count ?? 0);
}

function countsOf(values: ArrayLike<number>): Map<number, number> {
  const counts = new Map<number, number>();
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? 0;
    counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  return counts;
}

/** A binary heap of moments, one per device, in typed arrays: a million fit in a few megabytes. */
function createQueue(most: number) {
  const times = new Float64Array(most + 1);
  const devices = new Uint32Array(most + 1);
  let size = 0;
  const put = (index: number, time: number, device: number) => {
    times[index] = time;
    devices[index] = device;
  };
  return {
    push(time: number, device: number) {
      let index = size++;
      while (index > 0) {
        const above = (index - 1) >> 1;
        if ((times[above] as number) <= time) break;
        put(index, times[above] as number, devices[above] as number);
        index = above;
      }
      put(index, time, device);
    },
    pop(): { time: number; device: number } | null {
      if (size === 0) return null;
      const first = { time: times[0] as number, device: devices[0] as number };
      size--;
      const [time, device] = [times[size] as number, devices[size] as number];
      let index = 0;
      for (;;) {
        let below = 2 * index + 1;
        if (below >= size) break;
        if (below + 1 < size && (times[below + 1] as number) < (times[below] as number)) below++;
        if ((times[below] as number) >= time) break;
        put(index, times[below] as number, devices[below] as number);
        index = below;
      }
      put(index, time, device);
      return first;
    },
  };
}
