import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Contender } from './contenders.ts';
import { type Device, newDevice, removeDevice } from './device.ts';
import type { FleetAddress } from './fleetProcess.ts';
import { start } from './process.ts';
import { runToEnd } from './run.ts';
import { assertStrace, readTrace, type SystemCalls, traced } from './systemCalls.ts';

const few = 20;
const many = 120;
/** The waits of an outage in short. */
const retry = { initialMs: 1, maxMs: 2 };
/** At any other level the log leaves out most lines of a failure that repeats, and attempts are counted by them. */
const log = { format: 'json', level: 'debug' };
/** An address at which nothing listens. */
const nowhere: FleetAddress = { provisioningUrl: 'http://127.0.0.1:9', natsUrl: 'tls://127.0.0.1:9' };

/** What one step costs the disk; one attempt that failed: on average. */
export interface StepWear {
  readonly syncs: number;
  readonly bytesWritten: number;
}

/** Failed attempts of a device that cannot reach the provisioning server: the difference of two outages, by attempt. */
export async function measureFailedAttempts(program: Contender): Promise<StepWear> {
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
  const device = newDevice(nowhere, 'ec-p256', { retry, log });
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

/** What a registered device does besides looking at its clock. */
export interface RestWear {
  /** Opening NATS once a day */
  readonly verification: StepWear;
  /** Another certificate for the same key */
  readonly renewal: StepWear;
}

/** Restarts of a registered device, of which one has nothing to do, one has to verify, and one has to renew. */
export async function measureRestWear(program: Contender, fleet: FleetAddress): Promise<RestWear> {
  assertStrace();
  const device = newDevice(fleet, 'ec-p256', { retry });
  try {
    await runToEnd(program.command(device));
    const { verifiedAt } = stateOf(device);
    const idle = await restart(program, device, () => true);
    const over = (calls: SystemCalls): StepWear => ({
      syncs: calls.syncs - idle.syncs,
      bytesWritten: calls.bytesWritten - idle.bytesWritten,
    });
    const past = new Date(Date.now() - 2 * 86_400_000).toISOString();
    change(device, (state) => ({ ...state, verifiedAt: past }));
    const verified = ({ verifiedAt: at }: State) => at !== past && at !== verifiedAt;
    const verification = over(await restart(program, device, verified));
    const { provisioned } = stateOf(device);
    change(device, (state) => ({ ...state, provisioned: { ...state.provisioned, renewAt: past } }));
    const renewed = (state: State) => state.provisioned?.certificate !== provisioned?.certificate;
    return { verification, renewal: over(await restart(program, device, renewed)) };
  } finally {
    removeDevice(device);
  }
}

interface State {
  readonly verifiedAt?: string | null;
  readonly provisioned?: { readonly certificate: string; readonly renewAt: string };
}

function stateOf({ stateDir }: Device): State {
  return JSON.parse(readFileSync(join(stateDir, 'state.json'), 'utf8')) as State;
}

function change(device: Device, to: (state: State) => object): void {
  writeFileSync(join(device.stateDir, 'state.json'), JSON.stringify(to(stateOf(device)), null, 2));
}

const pollMs = 50;
/** What follows a write that was waited for. */
const restMs = 1_000;

/** @returns the calls of one start, until the device is registered and `isDone` */
async function restart(
  program: Contender,
  device: Device,
  isDone: (state: State) => boolean,
): Promise<SystemCalls> {
  const command = program.daemon?.(device);
  if (command == null) throw new Error(`${program.name} does not stay`);
  const file = join(device.folder, 'trace');
  const running = start(traced(command, file));
  try {
    await running.until(({ event, to }) => event === 'state.changed' && to === 'registered');
    while (!isDone(stateOf(device))) await setTimeout(pollMs);
    await setTimeout(restMs);
  } finally {
    await running.stop();
  }
  return readTrace(file, device.stateDir);
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
