import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { live } from './life.ts';
import type { Plan } from './plan.ts';
import { calmPlan } from './rollback.ts';

const day = 86_400_000;

export interface LongWait {
  readonly violation: string | null;
  readonly renewals: number;
  /** Heap in use after each collection, megabytes */
  readonly heap: number[];
}

/** Weeks of a registered device that has nothing to do but to look at its clock and to renew, one life after the other. */
export async function longWait(weeks: number, lives: number): Promise<LongWait> {
  const plan: Plan = {
    ...calmPlan,
    certificateLifeMs: 5 * day,
    roundTripMs: 50,
    liveOnMs: weeks * 7 * day,
  };
  const heap: number[] = [];
  let renewals = 0;
  for (let life = 0; life < lives; life++) {
    const { violation, story } = await live({ ...plan, seed: life }, true);
    renewals += story.filter((line) => line.includes('certificate.renewed')).length;
    if (violation !== null) return { violation, renewals, heap };
    heap.push(heapInUse());
  }
  return { violation: null, renewals, heap };
}

function heapInUse(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed / 2 ** 20;
}
