import type { Contender } from './contenders.ts';
import { newDevice, removeDevice } from './device.ts';
import type { FleetAddress } from './fleetProcess.ts';
import { startRoundTripRelays } from './roundTrips.ts';
import { runToEnd } from './run.ts';
import { median } from './statistics.ts';

const [shortMs, longMs] = [100, 300];
const rounds = 3;

/** How much longer an onboarding takes for each millisecond of round trip: what the counted chain costs in time. */
export async function timeRoundTrips(contender: Contender, fleet: FleetAddress): Promise<number> {
  const slopes: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const short = await timeOver(contender, fleet, shortMs);
    const long = await timeOver(contender, fleet, longMs);
    slopes.push((long - short) / (2 * (longMs - shortMs)));
  }
  return median(slopes);
}

/** @param delayMs one way */
async function timeOver(contender: Contender, fleet: FleetAddress, delayMs: number): Promise<number> {
  const relays = await startRoundTripRelays(fleet, delayMs);
  // A key of this type takes about the same time whenever it is made.
  const device = newDevice(relays, 'ec-p256');
  try {
    return (await runToEnd(contender.command(device))).ms;
  } finally {
    removeDevice(device);
    await relays.stop();
  }
}
