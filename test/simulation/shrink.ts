import { live } from './life.ts';
import type { Plan } from './plan.ts';

/**
 * The smallest plan that still breaks an invariant: adversities are taken away one by one, as long as something breaks.
 *
 * @param breaking a plan that breaks one
 */
export async function shrink(breaking: Plan): Promise<Plan> {
  let smallest = breaking;
  for (let again = true; again; ) {
    again = false;
    for (const simpler of simplerThan(smallest)) {
      if ((await live(simpler)).violation === null) continue;
      smallest = simpler;
      again = true;
      break;
    }
  }
  return smallest;
}

function* simplerThan(plan: Plan): Generator<Plan> {
  for (const adversity of plan.adversities) {
    yield { ...plan, adversities: plan.adversities.filter((other) => other !== adversity) };
  }
  if (plan.loss > 0) yield { ...plan, loss: 0 };
  if (plan.roundTripMs > 1) yield { ...plan, roundTripMs: 1 };
}
