import { createHash, randomUUID } from 'node:crypto';
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { stateDirectory } from '../../src/adapters/disk/lockedStateDirectory.ts';
import type { Log } from '../../src/adapters/logger.ts';
import { noProxies } from '../../src/config/proxy.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import type { Config, HostDefaults } from '../../src/config/schema.ts';
import { type LogContext, startDaemon } from '../../src/daemon/daemon.ts';
import { createPlatform } from '../../src/daemon/platform.ts';
import { redact } from '../../src/errors/onboardingError.ts';

/**
 * Several devices in one process: for each the real machine, services and adapters, a state directory of its own on a
 * real disk, connections of its own. Only the process is shared, and the hardware that each sees is its own. Forked by
 * the rehearsals, the storm and bench/scale.ts.
 */
export interface Assignment {
  readonly folder: string;
  readonly first: number;
  readonly count: number;
  readonly provisioningUrl: string;
  readonly retry: Readonly<Record<string, number>>;
  /** Devices power on within so many milliseconds. */
  readonly powerOnMs: number;
  /** Where their logs go, all into one file; nowhere by default */
  readonly logFile?: string;
  /** Whether they run on once they are registered or failed; false by default */
  readonly staysOn?: boolean;
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
    }
  | { readonly type: 'renewed'; readonly at: number; readonly deviceId: string };

const version = '0.0.0';

process.on('message', (assignment: Assignment) => {
  for (let index = 0; index < assignment.count; index++) {
    setTimeout(() => powerOn(assignment, assignment.first + index), Math.random() * assignment.powerOnMs);
  }
});
// Whoever forked it is gone.
process.on('disconnect', () => process.exit());

function powerOn(assignment: Assignment, number: number): void {
  const stateDir = join(assignment.folder, `${number}`);
  mkdirSync(stateDir, { mode: 0o700, recursive: true });
  const config = configOf(assignment, stateDir);
  const logContext: LogContext = { deviceId: null, state: 'idle' };
  const settings = { config, hostname: `device-${number}`, fleetCa: null, builtAt: 0 };
  // Each has a folder of its own: no lock, which would be a process for each.
  const state = stateDirectory(config.stateDir, undefined, () => () => {});
  const platform = {
    ...createPlatform({ config, version, state, proxies: noProxies }),
    machine: () => ({
      hardware: createHash('sha256').update(`board ${number}`).digest('hex'),
      installation: null,
    }),
  };
  const daemon = startDaemon(platform, settings, logContext, logOf(assignment.logFile, logContext));
  daemon.broken.catch((error: unknown) => {
    throw error;
  });
  if (!assignment.staysOn) daemon.settled.then(() => daemon.stop());
}

function configOf({ provisioningUrl, retry }: Assignment, stateDir: string): Config {
  const file = {
    stateDir,
    provisioning: { url: provisioningUrl },
    identity: { keyType: 'ec-p256' },
    device: { type: 'simulated' },
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
  return resolved.config;
}

/** Lines as the program writes them, and reports to the parent. */
function logOf(file: string | undefined, context: LogContext): Log {
  const begun = performance.now();
  const runId = randomUUID().replaceAll('-', '');
  return (level, event, message, fields) => {
    const at = Date.now();
    const deviceId = context.deviceId ?? '';
    if (file !== undefined) {
      const known = context.deviceId === null ? { state: context.state } : context;
      const head = { message: redact(message), timestamp: new Date(at).toISOString(), level, event, version };
      appendFileSync(file, `${JSON.stringify({ ...head, runId, ...known, ...fields })}\n`);
    }
    if ('step' in fields && 'code' in fields)
      send({ type: 'failed', at, step: String(fields.step), code: String(fields.code) });
    if (event === 'device.registered')
      send({ type: 'registered', at, deviceId, tookMs: performance.now() - begun });
    if (event === 'certificate.renewed') send({ type: 'renewed', at, deviceId });
  };
}

function send(report: AgentReport): void {
  process.send?.(report);
}

send({ type: 'ready' });
