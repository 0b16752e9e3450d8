import { live, type Outcome } from './life.ts';
import type { Plan, Strike } from './plan.ts';

/** A life that nothing befalls. */
export const calmPlan: Plan = {
  seed: 1,
  api: 'jetstream',
  failedAfterMs: 900_000,
  certificateLifeMs: 365 * 86_400_000,
  roundTripMs: 20,
  loss: 0,
  clash: false,
  earlierLife: false,
  https: false,
  pinned: false,
  newKey: true,
  isRevoked: false,
  adversities: [],
};

/** A life whose renewed certificate is taken back. */
export async function rollBack(strikes: readonly Strike[]): Promise<Outcome> {
  return await live({ ...calmPlan, certificateLifeMs: 10 * 86_400_000, rollsBack: { strikes } });
}

/** A rollback that is struck before each of its steps, from the last look that NATS refuses. @returns what broke */
export async function rollBackAtEachStep(): Promise<{
  readonly strikes: number;
  readonly violations: string[];
}> {
  const violations: string[] = [];
  const [first, last] = [12, 44];
  for (let step = first; step <= last; step++) {
    const kind = step % 2 === 0 ? 'kill' : 'power cut';
    const { violation } = await rollBack([{ kind, step }]);
    if (violation !== null) violations.push(`${kind} before step ${step}: ${violation}`);
  }
  return { strikes: last - first + 1, violations };
}
