import { type DeviceTally, mergeDevice, newDevice, wrongClock } from './deviceTally.ts';

/** So few devices in a month of their own had a wrong clock, if the others wrote at least two months before or after. */
const smallShare = 0.01;
const fewestDevices = 10;
const gapBlocks = 2;

/** The blocks of time in which the fleet lives: a clock of last year shows by the others. */
export function trustedBlocks(devices: Iterable<DeviceTally>): Set<number> {
  const perBlock = new Map<number, number>();
  let all = 0;
  for (const { eras } of devices) {
    all++;
    for (const { block } of eras)
      if (block !== wrongClock) perBlock.set(block, (perBlock.get(block) ?? 0) + 1);
  }
  const blocks = [...perBlock].sort(([a], [b]) => a - b);
  if (all < fewestDevices) return new Set(perBlock.keys());
  const big = blocks.filter(([, count]) => count > Math.max(1, all * smallShare)).map(([block]) => block);
  return new Set(
    blocks
      .map(([block]) => block)
      .filter((block) => big.length === 0 || big.some((other) => Math.abs(other - block) <= gapBlocks)),
  );
}

/** So many ids on one host name are many devices of that name, not one that was reset. */
const mostResets = 8;

/**
 * A device that was reset has another id on the same machine: only the latest counts. A host without an id is the device
 * that it became.
 */
export function onePerMachine(
  devices: readonly DeviceTally[],
  trusted: ReadonlySet<number>,
): { machines: DeviceTally[]; replaced: number } {
  const machines: DeviceTally[] = [];
  let replaced = 0;
  for (const group of grouped(devices)) {
    const named = group.filter(({ key }) => !key.startsWith('@'));
    const nameless = group.filter(({ key }) => key.startsWith('@'));
    const survivors = survivorsOf(named, trusted);
    replaced += named.length - survivors.length;
    const [only, ...more] = survivors;
    if (only === undefined) machines.push(...nameless);
    else if (more.length > 0) machines.push(...survivors);
    else machines.push(nameless.reduce(withHost, only));
  }
  return { machines, replaced };
}

/** What the host told before it had an id, added to its device. */
function withHost(device: DeviceTally, host: DeviceTally): DeviceTally {
  const both = newDevice(device.key);
  mergeDevice(both, device);
  mergeDevice(both, { ...host, eras: [] });
  return both;
}

function grouped(devices: readonly DeviceTally[]): DeviceTally[][] {
  const groups = new Map<string, DeviceTally[]>();
  for (const device of devices) {
    const { machine, host, key } = device;
    const name = machine !== null ? `machine ${machine}` : host !== null ? `host ${host}` : `id ${key}`;
    const group = groups.get(name);
    if (group) group.push(device);
    else groups.set(name, [device]);
  }
  return [...groups.values()];
}

/** @returns the latest if the lives of all follow one another, else all */
function survivorsOf(devices: readonly DeviceTally[], trusted: ReadonlySet<number>): readonly DeviceTally[] {
  if (devices.length < 2 || devices.length > mostResets) return devices;
  const lives = devices
    .map((device) => {
      const eras = device.eras.filter(({ block }) => trusted.has(block));
      return {
        device,
        first: Math.min(...eras.map(({ first }) => first)),
        last: Math.max(...eras.map(({ last }) => last)),
      };
    })
    .sort((a, b) => a.first - b.first);
  const isOneAfterAnother = lives.every(
    ({ first }, index) => Number.isFinite(first) && (index === 0 || (lives[index - 1]?.last ?? 0) <= first),
  );
  return isOneAfterAnother ? lives.slice(-1).map(({ device }) => device) : devices;
}
