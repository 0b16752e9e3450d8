import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Contender, Contenders } from './contenders.ts';
import { newDevice, removeDevice } from './device.ts';
import type { FleetAddress } from './fleetProcess.ts';
import {
  connectionsOf,
  type Memory,
  memoryOf,
  sleepsOf,
  start,
  wakeUpsBetween,
  withOwnProgram,
} from './process.ts';
import { assertStrace, readTrace, tracing } from './systemCalls.ts';

/** Until then the runtime collects what the start has left. */
const settleMs = 60_000;
const watchMs = 60_000;

/** A program that has nothing to do. */
export interface AtRest extends Memory {
  readonly name: string;
  /** The same for an empty process of the Node version, null for that itself */
  readonly ofEmpty: number | null;
  /** In one minute */
  readonly wakeUps: number;
  readonly syncs: number;
  readonly bytesWritten: number;
  readonly logLines: number;
  readonly connections: number;
}

/** The daemon a minute after it delivered its result, and in two minutes thereafter; next to an empty process. */
export async function measureAtRest(contenders: Contenders, fleet: FleetAddress): Promise<AtRest[]> {
  const { checkout, emptyNode, packaged, emptyPackagedNode } = contenders;
  const all = [checkout, emptyNode, packaged, emptyPackagedNode].filter((one) => one !== null);
  assertStrace();
  const measured = await Promise.all(all.map((one) => rest(one, fleet)));
  const ofEmpty = (at: number) => (measured[at]?.pss ?? 0) / (measured[at + 1]?.pss ?? 1);
  return measured.map((one, at) => ({ ...one, ofEmpty: all[at]?.onboards ? ofEmpty(at) : null }));
}

/** @throws {Error} where the program ends at once */
export async function rest(contender: Contender, fleet: FleetAddress): Promise<Omit<AtRest, 'ofEmpty'>> {
  const device = newDevice(fleet, 'rsa-2048');
  const command = contender.daemon?.(device);
  if (command == null) throw new Error(`${contender.name} does not stay`);
  const running = start(withOwnProgram(command, device.folder));
  try {
    if (contender.onboards) await running.until(({ event }) => event === 'device.registered');
    await setTimeout(settleMs);
    const memory = memoryOf(running.pid);
    const connections = connectionsOf(running.pid);
    const [sleeps, lines] = [sleepsOf(running.pid), running.lines.length];
    await setTimeout(watchMs);
    const wakeUps = wakeUpsBetween(sleeps, sleepsOf(running.pid));
    const logLines = running.lines.length - lines;
    const { syncs, bytesWritten } = await callsInAMinute(running.pid, device);
    return { name: contender.name, ...memory, wakeUps, syncs, bytesWritten, logLines, connections };
  } finally {
    await running.stop();
    removeDevice(device);
  }
}

/** A second minute: being traced wakes a process up. */
async function callsInAMinute(pid: number, { folder, stateDir }: { folder: string; stateDir: string }) {
  const file = join(folder, 'trace');
  const [program = '', ...args] = tracing(pid, file);
  const strace = spawn(program, args, { stdio: 'ignore' });
  const ended = once(strace, 'exit');
  await setTimeout(watchMs);
  strace.kill('SIGINT');
  await ended;
  return readTrace(file, stateDir);
}
