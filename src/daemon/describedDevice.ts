import { type DeviceFields, deviceFields } from '../services/onboarding/deviceFields.ts';
import type { Settings } from './actors.ts';
import type { Platform } from './platform.ts';
import { entryOfLeftOut, type Report } from './transitionLog.ts';

/** Each key once: a registration may need many attempts. */
export function warnedOnce(report: Report): (leftOut: DeviceFields['leftOut']) => void {
  const said = new Set<string>();
  return (leftOut) => {
    for (const one of leftOut) {
      if (!said.has(one.message)) report(entryOfLeftOut(one));
      said.add(one.message);
    }
  };
}

/**
 * Begins with the fields that describe the device, at once unless another program has to be asked for one.
 *
 * @returns a function that ends what was begun, or keeps it from beginning
 */
export function withDevice(
  { facts, tailscaleId }: Platform,
  { config: { device }, hostname }: Pick<Settings, 'config' | 'hostname'>,
  id: string,
  {
    warn,
    begin,
  }: {
    readonly warn: (leftOut: DeviceFields['leftOut']) => void;
    readonly begin: (device: DeviceFields['fields']) => () => void;
  },
): () => void {
  const { serial, machineId } = facts?.() ?? { serial: null, machineId: null };
  const start = (found: string | null) => {
    const { fields, leftOut } = deviceFields(device, { id, hostname, serial, machineId }, found);
    warn(leftOut);
    return begin(fields);
  };
  if (device.tailscaleID !== 'auto' || tailscaleId === undefined) return start(null);
  let isOver = false;
  let end = () => {};
  tailscaleId()
    .catch(() => null)
    .then((found) => {
      if (!isOver) end = start(found);
    });
  return () => {
    isOver = true;
    end();
  };
}
