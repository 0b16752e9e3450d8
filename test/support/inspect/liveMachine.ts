import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createActor, type StateValue } from 'xstate';
import { stateDirectory } from '../../../src/adapters/disk/lockedStateDirectory.ts';
import { noProxies } from '../../../src/config/proxy.ts';
import { resolveConfig } from '../../../src/config/resolve.ts';
import { wire } from '../../../src/daemon/actors.ts';
import { createPlatform } from '../../../src/daemon/platform.ts';
import type { Context } from '../../../src/machines/contracts.ts';

/** One event of the machine, and where it led. */
export interface Moment {
  /** Milliseconds since the start */
  readonly at: number;
  readonly event: string;
  /** The states that are active, outermost first: `csr`, `csr.requesting` */
  readonly active: readonly string[];
  /** The machine's context, without the certificate that it tries */
  readonly context: Readonly<Record<string, unknown>>;
}

export interface LiveMachine {
  stop(): void;
}

/** One device in this process: the real machine, services and adapters, with a state directory in a temporary folder. */
export function startMachine(provisioningUrl: string, onMoment: (moment: Moment) => void): LiveMachine {
  const folder = mkdtempSync(join(tmpdir(), 'inspect-'));
  const config = configFor(provisioningUrl, join(folder, 'state'));
  const state = stateDirectory(config.stateDir, undefined, () => () => {});
  const settings = { config, hostname: 'inspected', fleetCa: null, builtAt: 0 };
  const machine = wire(
    createPlatform({ config, version: '0', state, proxies: noProxies }),
    settings,
    {
      onQuarantined: () => undefined,
      onLeft: () => undefined,
      onReplaced: () => undefined,
      onAdopted: () => undefined,
      onExportsPending: () => undefined,
    },
    () => undefined,
  );
  const started = performance.now();
  const actor = createActor(machine, {
    inspect(seen) {
      if (seen.type !== '@xstate.snapshot' || seen.actorRef.sessionId !== actor.sessionId) return;
      const { value, context } = seen.snapshot as unknown as { value: StateValue; context: Context };
      onMoment({
        at: Math.round(performance.now() - started),
        event: seen.event.type,
        active: pathsOf(value),
        context: { ...context, candidate: context.candidate && '(a certificate)' },
      });
    },
  });
  actor.start();
  return {
    stop() {
      actor.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function configFor(provisioningUrl: string, stateDir: string) {
  const file = {
    stateDir,
    provisioning: { url: provisioningUrl },
    device: { type: 'inspected' },
    retry: { initialMs: 500, maxMs: 5000, factor: 2, failedAfterMs: 10_000 },
  };
  const host = { stateDir, architecture: 'amd64', buildVersion: '1', tokenFile: null, caFile: null };
  const resolved = resolveConfig(
    { flags: {}, environment: {}, overlay: new Map(), file },
    { ...host, logFormat: 'json' },
  );
  if ('problems' in resolved) throw new Error(resolved.problems.join('; '));
  return resolved.config;
}

function pathsOf(value: StateValue, before = ''): string[] {
  if (typeof value === 'string') return [before + value];
  return Object.entries(value).flatMap(([key, inner]) => [
    before + key,
    ...(inner === undefined ? [] : pathsOf(inner, `${before}${key}.`)),
  ]);
}
