import { expect, test } from 'vitest';
import type { StateValue } from 'xstate';
import { activeStateAt, waitsAt } from '../../../src/daemon/waiting.ts';
import { timeoutsOf } from '../../../src/machines/failure.ts';
import { onboarding } from '../../../src/machines/onboarding.ts';

const now = Date.UTC(2026, 10, 24);
const policy = {
  retry: { initialMs: 1, maxMs: 1, factor: 1, failedAfterMs: 1 },
  provisioningTimeoutMs: 15_000,
  registrationTimeoutMs: 30_000,
  connectTimeoutMs: 35_000,
  refusalsCount: true,
};
const before = { place: 'idle.resuming', since: now - 60_000 };

test.each<[StateValue, string | null, string | null]>([
  [{ csr: 'requesting' }, 'the answer of the provisioning server', '2026-11-24T00:00:15.000Z'],
  [
    { registering: { requesting: 'awaitingResult' } },
    'the answer of the fleet manager',
    '2026-11-24T00:00:30.000Z',
  ],
  [{ registering: { requesting: 'connecting' } }, 'the NATS server', '2026-11-24T00:00:35.000Z'],
  [{ csr: 'backingOff' }, null, null],
  ['failed', null, null],
])('in %j a device waits for %s, at most until %s', (value, what, until) => {
  const waits = waitsAt(activeStateAt(value, before, now), timeoutsOf(policy));
  expect([waits?.what ?? null, waits?.until ?? null]).toEqual([what, until]);
});

test('the limit does not move while the device waits', () => {
  const entered = activeStateAt({ csr: 'requesting' }, before, now);
  expect(activeStateAt({ csr: 'requesting' }, entered, now + 5_000)).toBe(entered);
});

test('every state of the chart that has a limit says what it waits for', () => {
  const chart = onboarding(policy, { now: () => now, random: () => 0 });
  const limits = Object.keys(timeoutsOf(policy));
  const limited: string[] = [];
  const visit = (node: typeof chart.root) => {
    if (limits.some((limit) => limit in (node.config.after ?? {}))) limited.push(node.path.join('.'));
    for (const child of Object.values(node.states)) visit(child as typeof chart.root);
  };
  visit(chart.root);
  expect(limited).toHaveLength(8);
  for (const place of limited)
    expect(waitsAt({ place, since: now }, timeoutsOf(policy)), place).not.toBeNull();
});
