import { expect, test } from 'vitest';
import { type LogContext, startDaemon } from '../../../src/daemon/daemon.ts';
import type { Platform } from '../../../src/daemon/platform.ts';
import { files, newState, parseState, type StateDirectory } from '../../../src/services/state/deviceState.ts';
import { usualConfig } from '../../simulation/life.ts';
import * as pki from '../../simulation/pki.ts';

/** A device without network, whose disk is memory. */
function boot(stored: Map<string, string>, hardware: string) {
  const directory: StateDirectory = {
    read: (name) => stored.get(name) ?? null,
    write: (name, text) => void stored.set(name, text),
    refresh: (name, text) => void stored.set(name, text),
    restrict: () => undefined,
    quarantine: (name) => name,
  };
  const known: LogContext = { deviceId: null, state: 'idle' };
  const platform: Platform = {
    directory,
    pki,
    exportFile: () => undefined,
    newKey: () => new Promise(() => {}),
    post: () => new Promise(() => {}),
    connect: () => new Promise(() => {}),
    connectTimeoutMs: 1000,
    machine: () => ({ hardware, installation: null }),
    now: () => Date.UTC(2026, 10, 24),
    monotonic: () => 0,
    random: () => 0.5,
    randomUUID: () => 'f-f',
    setTimer: () => () => undefined,
    watchForSteps: () => () => undefined,
    timers: { setTimeout: () => undefined, clearTimeout: () => undefined },
  };
  const settings = { config: usualConfig, hostname: '', fleetCa: null, builtAt: 0 };
  return { known, daemon: startDaemon(platform, settings, known, () => undefined) };
}

test('a device that was copied from another machine shows its id, and what keeps it, although it cannot resume', async () => {
  const original = { ...newState('device-1', 0), machine: { hardware: 'a', installation: null } };
  const stored = new Map([[files.state as string, JSON.stringify(original)]]);
  const { known, daemon } = boot(stored, 'b');
  expect(await daemon.settled).toBe('failed');
  daemon.stop();
  expect(known).toEqual({ deviceId: 'device-1', state: 'failed' });
  expect(parseState(stored.get(files.state) ?? '')).toMatchObject({
    deviceId: 'device-1',
    progress: { state: 'failed', lastError: { code: 'STATE_CLONED' } },
  });
});

test('a new device knows its id as soon as it has one', async () => {
  const { known, daemon } = boot(new Map(), 'a');
  await new Promise(setImmediate);
  daemon.stop();
  expect(known).toEqual({ deviceId: 'ff', state: 'keygen' });
});
