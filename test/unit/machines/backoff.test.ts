import { expect, test } from 'vitest';
import { backoffMs } from '../../../src/machines/backoff.ts';

test('waits are full jitter under a growing ceiling, and never less than the server asked for', () => {
  const policy = { initialMs: 1000, maxMs: 300_000, factor: 2 };
  expect(backoffMs(policy, 1, 0.5)).toBe(500);
  expect(backoffMs(policy, 3, 0.5)).toBe(2000);
  expect(backoffMs(policy, 5000, 0.999)).toBeLessThanOrEqual(300_000);
  expect(backoffMs(policy, 1, 0, 7000)).toBe(7000);
  expect(backoffMs(policy, 1, 0, 1e15)).toBe(3_600_000);
});
