import { expect, test } from 'vitest';
import { type LogContext, startDaemon } from '../../../src/daemon/daemon.ts';
import type { Platform } from '../../../src/daemon/platform.ts';
import { OnboardingError } from '../../../src/errors/onboardingError.ts';
import { files, newState, type Progress } from '../../../src/services/state/deviceState.ts';
import { usualConfig } from '../../simulation/life.ts';
import * as pki from '../../simulation/pki.ts';
import { memoryDirectory } from '../../support/memoryDirectory.ts';

/** A device without network, whose disk is memory. */
function boot(stored: Map<string, string>, hardware: string, more: Partial<Platform> = {}) {
  const directory = memoryDirectory(stored);
  const logContext: LogContext = { deviceId: null, state: 'idle' };
  const platform: Platform = {
    directory,
    pki,
    stageExport: () => null,
    sha256: (text) => text,
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
    ...more,
  };
  const lines: unknown[] = [];
  const log = (_level: string, event: string) => lines.push({ event, ...logContext });
  const settings = { config: usualConfig, hostname: '', fleetCa: null, builtAt: 0 };
  return { logContext, daemon: startDaemon(platform, settings, logContext, log), lines };
}

test('a device that was copied from another machine shows its id, and what keeps it, although it cannot resume', async () => {
  const visit = { state: 'csr', at: '2026-11-24T00:00:00.000Z', durationMs: 5 } as const;
  const fresh = newState('device-1');
  const original = {
    ...fresh,
    machine: { hardware: 'a', installation: null },
    progress: {
      state: 'csr',
      since: visit.at,
      attempt: 1,
      nextRetryAt: null,
      lastError: null,
      history: [visit],
    },
  };
  const stored = new Map([[files.state as string, JSON.stringify(original)]]);
  const published: Progress[] = [];
  const publish: Platform['publish'] = (state, progress) => {
    if (state?.deviceId === 'device-1') published.push(progress);
  };
  const { logContext, daemon, lines } = boot(stored, 'b', { publish });
  expect(await daemon.settled).toBe('failed');
  daemon.stop();
  expect(logContext).toEqual({ deviceId: 'device-1', state: 'failed' });
  expect(published.at(-1)).toMatchObject({
    state: 'failed',
    lastError: { code: 'STATE_CLONED' },
    history: [visit, { state: 'idle' }],
  });
  expect(JSON.parse(stored.get(files.state) ?? '')).toEqual(original);
  expect(lines).toContainEqual({ event: 'step.failed', deviceId: 'device-1', state: 'idle' });
});

test('a new device knows its id as soon as it has one', async () => {
  const { logContext, daemon } = boot(new Map(), 'a');
  await new Promise(setImmediate);
  daemon.stop();
  expect(logContext).toEqual({ deviceId: 'ff', state: 'keygen' });
});

test('attempts that fail write nothing to the state directory', async () => {
  const stored = new Map<string, string>([
    [files.state, JSON.stringify(newState('device-1'))],
    [files.key, pki.keyPem('k1')],
  ]);
  let changes = 0;
  const change = () => void changes++;
  const waits: ((...args: unknown[]) => void)[] = [];
  let posts = 0;
  const { daemon } = boot(stored, 'a', {
    directory: {
      read: (name) => stored.get(name) ?? null,
      write: change,
      refresh: change,
      remove: change,
      settle: change,
      note: change,
      restrict: () => undefined,
      quarantine: (name) => name,
    },
    post: () => {
      posts++;
      return Promise.reject(new OnboardingError('PROVISIONING_UNREACHABLE', 'down'));
    },
    timers: { setTimeout: (call) => waits.push(call), clearTimeout: () => undefined },
  });
  await expect.poll(() => posts).toBe(1);
  const before = changes;
  for (let attempt = 2; attempt < 5; attempt++) {
    for (const call of waits.splice(0)) call();
    await expect.poll(() => posts).toBe(attempt);
  }
  daemon.stop();
  expect(changes).toBe(before);
});

test('a damaged key is logged with the id of the device', async () => {
  const stored = new Map<string, string>([
    [files.state, JSON.stringify(newState('device-1'))],
    [files.key, 'garbage'],
  ]);
  const { daemon, lines } = boot(stored, 'a');
  await new Promise(setImmediate);
  daemon.stop();
  expect(lines).toContainEqual({ event: 'step.failed', deviceId: 'device-1', state: 'idle' });
});

test('what cannot be published is a line for debugging, and nothing else', async () => {
  const { daemon, lines, logContext } = boot(new Map(), 'a', {
    publish: () => {
      throw new Error('the folder is gone');
    },
  });
  await new Promise(setImmediate);
  daemon.stop();
  expect(lines).toContainEqual(expect.objectContaining({ event: 'progress.unsaved' }));
  expect(logContext.state).toBe('keygen');
});
