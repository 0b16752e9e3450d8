import { join } from 'node:path';
import type { Contender } from './contenders.ts';
import { newDevice, removeDevice } from './device.ts';
import type { FleetAddress } from './fleetProcess.ts';
import { start } from './process.ts';
import { assertStrace, readTrace, type SystemCalls, traced } from './systemCalls.ts';

const few = 20;
const many = 120;
/** The waits of an outage in short. */
const retry = { initialMs: 1, maxMs: 2 };
/** An address at which nothing listens. */
const nowhere: FleetAddress = { provisioningUrl: 'http://127.0.0.1:9', natsUrl: 'tls://127.0.0.1:9' };

/** What one attempt that failed costs the disk, on average. */
export interface AttemptWear {
  readonly syncs: number;
  readonly bytesWritten: number;
}

/** Failed attempts of a device that cannot reach the provisioning server: the difference of two outages, by attempt. */
export async function measureFailedAttempts(program: Contender): Promise<AttemptWear> {
  assertStrace();
  const short = await outage(program, few);
  const long = await outage(program, many);
  const attempts = long.attempts - short.attempts;
  return {
    syncs: (long.calls.syncs - short.calls.syncs) / attempts,
    bytesWritten: (long.calls.bytesWritten - short.calls.bytesWritten) / attempts,
  };
}

async function outage(program: Contender, least: number): Promise<{ attempts: number; calls: SystemCalls }> {
  const device = newDevice(nowhere, 'ec-p256', retry);
  const command = program.daemon?.(device);
  if (command == null) throw new Error(`${program.name} does not stay`);
  const file = join(device.folder, 'trace');
  const running = start(traced(command, file));
  const failed = () => running.lines.filter(({ event }) => event === 'step.failed').length;
  try {
    await running.until(() => failed() >= least);
    await running.stop();
    return { attempts: failed(), calls: readTrace(file, device.stateDir) };
  } finally {
    await running.stop();
    removeDevice(device);
  }
}

/** How many attempts a device makes in an outage, on average: full jitter below a ceiling that grows to `maxMs`. */
export function attemptsDuring(
  outageMs: number,
  { initialMs, maxMs, factor }: { initialMs: number; maxMs: number; factor: number },
): number {
  let attempts = 0;
  let at = 0;
  for (let ceiling = initialMs; at < outageMs; ceiling = Math.min(maxMs, ceiling * factor)) {
    attempts += 1;
    at += ceiling / 2;
  }
  return attempts;
}
