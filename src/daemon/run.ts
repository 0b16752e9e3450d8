import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { later, systemClock, watchForSteps } from '../adapters/clock.ts';
import { refreshFile } from '../adapters/disk/durableFile.ts';
import type { Claimable } from '../adapters/disk/lockedStateDirectory.ts';
import { thisMachine } from '../adapters/hardware.ts';
import type { Log } from '../adapters/logger.ts';
import { connectTimeoutMs, natsClient } from '../adapters/nats/client.ts';
import * as pki from '../adapters/pki.ts';
import { postProvision } from '../adapters/provisioningApi.ts';
import { reloadSignal, signalSoFar, stopSignal } from '../adapters/signals.ts';
import { superviseBy } from '../adapters/systemd.ts';
import type { Config } from '../config/schema.ts';
import type { Settings, World } from './actors.ts';
import { type Known, startDaemon } from './daemon.ts';

export interface RunOptions extends Settings {
  readonly version: string;
  readonly once: boolean;
  readonly state: Claimable;
}

/**
 * Runs the daemon in the real world until it is told to stop. At SIGHUP the machine stops and starts again with the
 * configuration as it is then: in the same process, from the facts on disk, under the same lock.
 *
 * @param reload reads the configuration again; null: it is no good, which was said, and nothing changes
 * @returns how it ended: `registered` or `failed` with `once`, else the signal that stopped it
 * @throws {OnboardingError} STATE_LOCKED: the state directory could not be claimed at first, and then another daemon
 *   had it
 */
export async function run(
  options: RunOptions,
  known: Known,
  log: Log,
  reload: (current: RunOptions) => Promise<RunOptions | null>,
): Promise<'registered' | 'failed' | NodeJS.Signals> {
  const early = await signalSoFar();
  if (early !== null) return early;
  const supervisor = superviseBy(process.env);
  const start = (next: RunOptions) =>
    startDaemon({ ...realWorld(next), announce: supervisor.announce }, next, known, log);
  let current = options;
  let daemon = start(current);
  try {
    for (;;) {
      const ends = [stopSignal(), daemon.broken, options.state.taken, reloadSignal()];
      const how = await Promise.race(options.once ? [...ends, daemon.settled] : ends);
      if (how !== 'SIGHUP') return how;
      const next = await reload(current);
      if (next === null) continue;
      current = next;
      daemon.stop();
      daemon = start(current);
    }
  } finally {
    daemon.stop();
    supervisor.stop();
  }
}

/** The adapters, wired for one device. */
export function realWorld({
  config,
  version,
  state,
}: Pick<RunOptions, 'config' | 'version' | 'state'>): World {
  const ca = config.provisioning.caFile === null ? null : readFileSync(config.provisioning.caFile, 'utf8');
  const server = {
    url: config.provisioning.url,
    ca,
    tokenFile: config.provisioning.tokenFile,
    userAgent: `onboardd/${version}`,
  };
  return {
    ...systemClock,
    machine: thisMachine,
    directory: state.directory,
    exportFile: refreshFile,
    pki,
    newKey: () => pki.generateKey(config.identity.keyType),
    post: (json, signal) => postProvision(server, json, signal),
    connect: natsClient(natsOptions(config)),
    connectTimeoutMs: connectTimeoutMs(config.nats.url),
    newId: randomUUID,
    later,
    watchForSteps,
  };
}

function natsOptions({ nats, registration }: Config): Parameters<typeof natsClient>[0] {
  return {
    tls: nats.tls,
    resultStream: registration.resultStream,
    random: systemClock.random,
    needsInbox: registration.api === 'request',
  };
}
