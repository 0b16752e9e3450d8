import { expect, test } from 'vitest';
import { hunt, replay } from './hunt.ts';
import { live, usualConfig } from './life.ts';
import { longWait } from './longWait.ts';
import { buildMutant, mutants } from './mutants.ts';
import { planOf } from './plan.ts';
import { loadOf, machineStorm, type Storm, storm } from './storm.ts';

test('five hundred simulated lives break no invariant', async () => {
  const { violations, lives } = await hunt(1, 500);
  expect(violations).toEqual([]);
  expect(lives).toBe(500);
}, 60_000);

test('a seed is one life: told twice, it is the same story', async () => {
  const [first, second] = [await live(planOf(77), true), await live(planOf(77), true)];
  expect(first.story.length).toBeGreaterThan(5);
  expect(second).toEqual(first);
});

// One of each kind that the simulation exists to find; the others: npm run test:sim -- --mutants
test.each([
  'a file is renamed before it is synced',
  'a question gets a new message id each time',
  'a damaged state makes a new identity',
])('the simulation finds the fault: %s', async (name) => {
  const mutant = mutants.find((one) => one.name === name);
  if (mutant === undefined) throw new Error('no such mutant');
  await using built = await buildMutant(mutant);
  const { violations } = await built.hunt(1, 2000, 1);
  expect(violations).toHaveLength(1);
  const { plan, outcome } = await built.replay(violations[0]?.seed ?? 0);
  expect(outcome.violation).not.toBeNull();
  expect(plan.adversities.length).toBeLessThanOrEqual(3);
  expect((await replay(violations[0]?.seed ?? 0)).outcome.violation).toBeNull();
}, 60_000);

test('a device that has nothing to do for weeks renews in time and asks nothing else', async () => {
  const { violation, renewals } = await longWait(2, 1);
  expect(violation).toBeNull();
  expect(renewals).toBeGreaterThanOrEqual(3);
}, 60_000);

test('after an outage the devices come back spread out, each gets one certificate, and the waits alone tell the same', async () => {
  const settings: Storm = {
    devices: 300,
    seed: 1,
    retry: usualConfig.retry,
    powerOnMs: 5000,
    downMs: 600_000,
    capacity: Number.POSITIVE_INFINITY,
  };
  const [machine, waits] = [await machineStorm(usualConfig, settings), storm(settings)];
  for (const curve of [machine, waits]) {
    expect(curve.certificatesPerDevice).toEqual(new Map([[1, 300]]));
    expect(loadOf(curve, settings).peak).toBeLessThan(20);
  }
  const requests = ({ requests }: typeof machine) => requests.reduce((sum, count) => sum + count, 0) / 300;
  expect(requests(machine)).toBeCloseTo(requests(waits), 0);
  const many = { ...settings, devices: 50_000 };
  expect(loadOf(storm(many), many).ratio).toBeLessThan(3);
}, 60_000);
