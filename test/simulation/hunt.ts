import { live, type Outcome } from './life.ts';
import { type Plan, planOf } from './plan.ts';
import { shrink } from './shrink.ts';

export { live };

/** What a number of lives reached. */
export interface Campaign {
  lives: number;
  boots: number;
  steps: number;
  failed: number;
  /** How many lives reached each thing. */
  reached: Record<string, number>;
  violations: { seed: number; violation: string }[];
}

/** Lives the lives of the seeds from `first` on. @param enough violations after which it ends */
export async function hunt(first: number, lives: number, enough = 10): Promise<Campaign> {
  const campaign = emptyCampaign();
  for (let seed = first; seed < first + lives && campaign.violations.length < enough; seed++) {
    const { boots, steps, endedAs, reached, violation } = await live(planOf(seed));
    campaign.lives++;
    campaign.boots += boots;
    campaign.steps += steps;
    if (endedAs === 'failed') campaign.failed++;
    for (const name of reached) campaign.reached[name] = (campaign.reached[name] ?? 0) + 1;
    if (violation !== null) campaign.violations.push({ seed, violation });
  }
  return campaign;
}

export function emptyCampaign(): Campaign {
  return { lives: 0, boots: 0, steps: 0, failed: 0, reached: {}, violations: [] };
}

/** The life of a seed, told; cut down to what breaks an invariant, where one breaks. */
export async function replay(seed: number): Promise<{ plan: Plan; outcome: Outcome }> {
  const whole = planOf(seed);
  const plan = (await live(whole)).violation === null ? whole : await shrink(whole);
  return { plan, outcome: await live(plan, true) };
}
