import { expect, test } from 'vitest';
import { hunt, replay } from './hunt.ts';
import { live } from './life.ts';
import { buildMutant, mutants } from './mutants.ts';
import { planOf } from './plan.ts';

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
