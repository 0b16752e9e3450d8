/** What tests of renewals and of refused certificates share. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Fleet, FleetOptions } from '../../fleet/fleet.ts';
import { at as deviceAt, fleetWith } from './harness.ts';
import { type Device, runToEnd } from './program.ts';

/** A fleet whose first certificate lives so many milliseconds, the later ones a year. */
export async function fleetWithFirstLife(ms: number, options: FleetOptions = {}): Promise<Fleet> {
  const made = await fleetWith(options);
  made.provisioning.behave = (_, n) =>
    n === 1
      ? { certificate: { notBefore: new Date(Date.now() - 1000), notAfter: new Date(Date.now() + ms) } }
      : undefined;
  return made;
}

/** A device that renews its certificate at half of its life. */
export const at = (fleet: Fleet, more: Record<string, unknown> = {}) =>
  deviceAt(fleet, { renewal: { at: 0.5 }, ...more });
/** Content of a file of the state directory */
export const file = ({ stateDir }: Device, name: string) => readFileSync(join(stateDir, name), 'utf8');
/** `onboardd status --json` */
export const status = ({ configFile }: Device) =>
  JSON.parse(runToEnd(['status', '--json', '--config', configFile]).stdout);
export const renewed = (line: { event: string }) => line.event === 'certificate.renewed';

export const failedWith =
  (step: string, code: string) => (line: { event: string; step?: unknown; code?: unknown }) =>
    line.event === 'step.failed' && line.step === step && line.code === code;
export const leftBecause = (reason: string) => (line: { event: string; reason?: unknown }) =>
  line.event === 'registration.left' && line.reason === reason;
export const registered = (line: { event: string }) => line.event === 'device.registered';
