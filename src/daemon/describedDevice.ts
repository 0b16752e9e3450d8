import { type DeviceFields, deviceFields } from '../services/onboarding/deviceFields.ts';
import { announcedBy } from '../services/onboarding/register.ts';
import type { Announced } from '../services/state/deviceState.ts';
import type { Platform } from './platform.ts';
import type { Settings } from './settings.ts';
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

const unknownFacts = { serial: null, machineId: null };

/** What a device of an id announces now, for `registration.onChange`. */
export function announcement(
  { facts }: Pick<Platform, 'facts'>,
  { config: { device }, hostname }: Pick<Settings, 'config' | 'hostname'>,
): (id: string) => Announced {
  return (id) => {
    const known = { id, hostname, ...(facts?.() ?? unknownFacts) };
    return announcedBy(deviceFields(device, known, null).fields);
  };
}

/**
 * Begins with the fields that describe the device, at once unless one has to come from another program.
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
  const known = { id, hostname, ...(facts?.() ?? unknownFacts) };
  const start = (found: string | null) => {
    const { fields, leftOut } = deviceFields(device, known, found);
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
