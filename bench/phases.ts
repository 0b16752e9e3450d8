import type { Line } from './run.ts';

/** Phase → milliseconds, in the order of the run. */
export type PhaseTimes = Readonly<Record<string, number>>;

/** Phases of a run, each with the state in which the time is spent. */
const states = ['keygen', 'csr', 'provisioned', 'registering'] as const;

/**
 * Where the time of one run went, by its log: `start` until the first state with work, the states themselves, and `end`
 * from the durable result until the process is gone.
 *
 * @param begun when the process was made, milliseconds since 1970
 * @param ms how long it lived
 * @throws {Error} where the log lacks a state
 */
export function phasesOf(lines: readonly Line[], begun: number, ms: number): PhaseTimes {
  const entered = new Map<string, number>();
  for (const { event, to, timestamp } of lines)
    if (event === 'state.changed' && !entered.has(String(to)))
      entered.set(String(to), Date.parse(String(timestamp)) - begun);
  const at = (state: string) => {
    const time = entered.get(state);
    if (time === undefined) throw new Error(`the log tells of no ${state}`);
    return time;
  };
  const ends = [...states.slice(1), 'registered'];
  const inStates = states.map((state, index) => [state, at(ends[index] ?? '') - at(state)]);
  return Object.fromEntries([['start', at('keygen')], ...inStates, ['end', ms - at('registered')]]);
}
