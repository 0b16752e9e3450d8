import { expect, test } from 'vitest';
import { type Observed, type Position, progressOf } from '../../../src/daemon/progress.ts';
import type { Failure } from '../../../src/machines/contracts.ts';

const now = Date.UTC(2026, 10, 24);
const before: Position = { state: 'csr', since: now - 60_000, entered: 1_000 };
const times = { now, monotonic: 5_000, started: 500 };
const failure: Failure = {
  step: 'csr',
  code: 'PROVISIONING_TIMEOUT',
  reason: 'timeout',
  class: 'transient',
  message: 'no answer',
  at: now - 1_000,
};

function look(value: Observed['value'], context: Partial<Observed['context']> = {}, isDelivered = false) {
  const all = { alias: null, attempt: 1, failure: null, nextRetryAt: null, ...context };
  return progressOf({ value, context: all, isDelivered }, before, times);
}

test('a device that enters another state shows since when, what it left, and logs it', () => {
  expect(look({ provisioned: 'preparing' })).toEqual({
    position: { state: 'provisioned', since: now, entered: 5_000 },
    progress: {
      state: 'provisioned',
      since: '2026-11-24T00:00:00.000Z',
      attempt: 1,
      nextRetryAt: null,
      lastError: null,
    },
    left: { state: 'csr', at: '2026-11-23T23:59:00.000Z', durationMs: 4_000 },
    entries: [
      ['info', 'state.changed', 'csr → provisioned', { from: 'csr', to: 'provisioned', durationMs: 4_000 }],
    ],
    settled: null,
  });
});

test('a device that stays in a state keeps its time there, and logs nothing', () => {
  const seen = look({ csr: 'backingOff' }, { attempt: 3, failure, nextRetryAt: now + 2_000 });
  expect(seen).toEqual({
    position: before,
    progress: {
      state: 'csr',
      since: '2026-11-23T23:59:00.000Z',
      attempt: 3,
      nextRetryAt: '2026-11-24T00:00:02.000Z',
      lastError: {
        code: 'PROVISIONING_TIMEOUT',
        reason: 'timeout',
        message: 'no answer',
        at: '2026-11-23T23:59:59.000Z',
      },
    },
    left: null,
    entries: [],
    settled: null,
  });
});

test.each([
  ['Alpha', 'registered as Alpha'],
  [null, 'registered'],
])('a device registered as %s is logged with the time since the start', (alias, message) => {
  expect(look({ registered: 'delivering' }, { alias }).entries).toEqual([
    expect.arrayContaining(['state.changed']),
    ['info', 'device.registered', message, { alias, durationMs: 4_500 }],
  ]);
});

test('a device that fails is logged with the remedy', () => {
  const [, failed] = look('failed', { failure }).entries;
  expect(failed).toEqual([
    'error',
    'device.failed',
    'PROVISIONING_TIMEOUT: no answer',
    { code: 'PROVISIONING_TIMEOUT', remedy: expect.stringMatching(/\S/) },
  ]);
});

test.each<[Observed['value'], boolean, string | null]>([
  ['failed', false, 'failed'],
  [{ registered: 'delivering' }, false, null],
  [{ registered: 'watching' }, true, 'registered'],
  [{ registering: { requesting: 'connecting' } }, false, null],
])('%j, delivered: %s, is settled as %s', (value, isDelivered, settled) => {
  expect(look(value, {}, isDelivered).settled).toBe(settled);
});
