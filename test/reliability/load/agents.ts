import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { stateDirectory } from '../../../src/adapters/disk/lockedStateDirectory.ts';
import type { Log } from '../../../src/adapters/logger.ts';
import { noProxies } from '../../../src/config/proxy.ts';
import { resolveConfig } from '../../../src/config/resolve.ts';
import type { HostDefaults } from '../../../src/config/schema.ts';
import { type LogContext, startDaemon } from '../../../src/daemon/daemon.ts';
import { createPlatform } from '../../../src/daemon/platform.ts';

/**
 * Several devices in one process: for each the real machine, services and adapters, a state directory of its own on a
 * real disk, connections of its own. Only the process is shared. Forked by storm.ts and by bench/scale.ts.
 */
export interface Assignment {
  readonly folder: string;
  readonly first: number;
  readonly count: number;
  readonly provisioningUrl: string;
  readonly retry: Readonly<Record<string, number>>;
  /** Devices power on within so many milliseconds. */
  readonly powerOnMs: number;
}

/** What an agent reports of itself. */
export type AgentReport =
  /** Loaded, without devices yet */
  | { readonly type: 'ready' }
  | { readonly type: 'failed'; readonly at: number; readonly step: string; readonly code: string }
  | {
      readonly type: 'registered';
      readonly at: number;
      readonly deviceId: string;
      /** since power on */
      readonly tookMs: number;
    };

process.on('message', (assignment: Assignment) => {
  for (let index = 0; index < assignment.count; index++) {
    setTimeout(() => powerOn(assignment, assignment.first + index), Math.random() * assignment.powerOnMs);
  }
});

function powerOn({ folder, provisioningUrl, retry }: Assignment, number: number): void {
  const begun = performance.now();
  const stateDir = join(folder, `${number}`);
  mkdirSync(stateDir, { mode: 0o700 });
  const file = {
    stateDir,
    provisioning: { url: provisioningUrl },
    identity: { keyType: 'ec-p256' },
    device: { type: 'storm' },
    retry,
  };
  const host: HostDefaults = {
    stateDir,
    architecture: 'amd64',
    buildVersion: '1',
    logFormat: 'json',
    tokenFile: null,
    caFile: null,
  };
  const resolved = resolveConfig({ flags: {}, environment: {}, overlay: new Map(), file }, host);
  if ('problems' in resolved) throw new Error(resolved.problems.join('; '));
  const { config } = resolved;
  const logContext: LogContext = { deviceId: null, state: 'idle' };
  const settings = { config, hostname: 'storm', fleetCa: null, builtAt: 0 };
  const log: Log = (_level, event, _message, fields) => {
    const at = Date.now();
    if ('step' in fields && 'code' in fields)
      send({ type: 'failed', at, step: String(fields.step), code: String(fields.code) });
    if (event === 'device.registered') {
      const tookMs = performance.now() - begun;
      send({ type: 'registered', at, deviceId: logContext.deviceId ?? '', tookMs });
    }
  };
  // Each has a folder of its own: no lock, which would be a process for each.
  const state = stateDirectory(config.stateDir, undefined, () => () => {});
  const daemon = startDaemon(
    createPlatform({ config, version: '0', state, proxies: noProxies }),
    settings,
    logContext,
    log,
  );
  daemon.broken.catch((error: unknown) => {
    throw error;
  });
  daemon.settled.then(() => daemon.stop());
}

function send(report: AgentReport): void {
  process.send?.(report);
}

send({ type: 'ready' });
