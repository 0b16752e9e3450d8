import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundle, type Contender, checkoutProgram, launcher } from './contenders.ts';
import { newDevice, removeDevice } from './device.ts';
import type { FleetAddress } from './fleetProcess.ts';
import { startRoundTripRelays } from './roundTrips.ts';
import { environment, runToEnd } from './run.ts';
import { assertStrace, countCalls, type SystemCalls } from './systemCalls.ts';

/** Long next to what device and fleet do between two messages, on a busy machine too. */
const delayMs = 150;
const keyType = 'ec-p256';

/** What one onboarding costs, in counts that do not depend on the machine's speed. */
export interface Counts extends SystemCalls {
  /** Waited for one after the other, without the handshakes of TCP */
  readonly roundTrips: number;
  /** Child processes under systemd, which is told of each state; fewer where the end comes before all were sent */
  readonly childrenUnderSystemd: number;
}

/** What is loaded when the first connection is made. */
export interface Loaded {
  /** Files of JavaScript, and their bytes */
  readonly files: number;
  readonly bytes: number;
  /** Modules of Node that an empty process does not load */
  readonly builtins: number;
}

export async function count(contender: Contender, fleet: FleetAddress): Promise<Counts> {
  const calls = countCallsOf(contender, fleet);
  const supervised = countCallsOf(contender, fleet, { NOTIFY_SOCKET: '/nonexistent/notify' });
  return {
    ...calls,
    childrenUnderSystemd: supervised.children,
    roundTrips: await countRoundTrips(contender, fleet),
  };
}

/** The system calls of one onboarding. @throws {Error} where there is no strace */
export function countCallsOf(
  contender: Contender,
  fleet: FleetAddress,
  env: NodeJS.ProcessEnv = {},
): SystemCalls {
  assertStrace();
  const device = newDevice(fleet, keyType);
  try {
    return countCalls(contender.command(device), { ...device, env: { ...environment(), ...env } });
  } finally {
    removeDevice(device);
  }
}

export async function countRoundTrips(contender: Contender, fleet: FleetAddress): Promise<number> {
  const relays = await startRoundTripRelays(fleet, delayMs);
  const device = newDevice(relays, keyType);
  try {
    await runToEnd(contender.command(device));
    return relays.roundTrips();
  } finally {
    removeDevice(device);
    await relays.stop();
  }
}

/** @param checkout runs on a Node that takes `--require` */
export async function countLoaded(checkout: Contender, fleet: FleetAddress): Promise<Loaded> {
  const device = newDevice(fleet, keyType);
  const file = join(device.folder, 'loaded.json');
  try {
    const [node = '', ...rest] = checkout.command(device);
    const probe = fileURLToPath(new URL('loaded.cjs', import.meta.url));
    await runToEnd([node, '--require', probe, ...rest], { BENCH_LOADED: file });
    return JSON.parse(readFileSync(file, 'utf8')) as Loaded;
  } finally {
    removeDevice(device);
  }
}

/** Bytes of all JavaScript that the build leaves in `dist`. */
export function bundleBytes(): number {
  const folder = dirname(bundle);
  return readdirSync(folder)
    .filter((name) => /\.[cm]?js$/.test(name))
    .reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

/** Bytes of V8's code cache that a checkout's first onboarding leaves; V8 compiles a function more or less from run to run. */
export async function cacheBytes(fleet: FleetAddress): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  const device = newDevice(fleet, keyType);
  try {
    for (const file of [launcher, bundle]) copyFileSync(file, join(folder, basename(file)));
    await runToEnd(checkoutProgram(join(folder, basename(launcher))).command(device));
    return statSync(join(folder, 'program.cache')).size;
  } finally {
    removeDevice(device);
    rmSync(folder, { recursive: true });
  }
}
