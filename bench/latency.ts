import { type Contender, type Contenders, listed } from './contenders.ts';
import { type KeyType, keyTypes, newDevice, removeDevice } from './device.ts';
import { startFleetProcess } from './fleetProcess.ts';
import { type PhaseTimes, phasesOf } from './phases.ts';
import { runToEnd } from './run.ts';
import { median, pairRatios, type Spread, spreadOf } from './statistics.ts';

export interface LatencyRow {
  readonly keyType: KeyType;
  readonly name: string;
  /** milliseconds from the start of the process to its end */
  readonly ms: Spread;
  /** time by that of the Go client next to it; null: for what does not onboard */
  readonly ratio: Spread | null;
  /** medians, milliseconds, in the order of the run; null where there is no log */
  readonly phases: PhaseTimes | null;
}

/**
 * Whole onboardings, from the start of the process to its end: each round runs every program once, one after the other,
 * beginning with another one each time.
 */
export async function measureLatency(
  contenders: Contenders,
  runs: number,
  say: (line: string) => void,
): Promise<LatencyRow[]> {
  const rows: LatencyRow[] = [];
  for (const keyType of keyTypes) {
    const fleet = await startFleetProcess();
    try {
      const all = listed(contenders);
      const times = new Map<Contender, { ms: number; phases: PhaseTimes | null }[]>(
        all.map((one) => [one, []]),
      );
      // The first round warms up the caches of the disk and the fleet, and is not counted.
      for (let round = 0; round <= runs; round++) {
        for (const contender of rotated(all, round)) {
          const device = newDevice(fleet, keyType);
          const { ms, begun, lines } = await runToEnd(contender.command(device));
          const phases = contender.onboards ? phasesOf(lines, begun, ms) : null;
          if (round > 0) times.get(contender)?.push({ ms, phases });
          removeDevice(device);
        }
        say(`${keyType}: round ${round} of ${runs}`);
      }
      const msOf = (one: Contender) => (times.get(one) ?? []).map(({ ms }) => ms);
      for (const one of all) {
        const ratio = one.onboards ? spreadOf(pairRatios(msOf(one), msOf(contenders.go))) : null;
        const phases = mediansOf(
          (times.get(one) ?? []).flatMap((run) => (run.phases === null ? [] : [run.phases])),
        );
        rows.push({ keyType, name: one.name, ms: spreadOf(msOf(one)), ratio, phases });
      }
    } finally {
      await fleet.stop();
    }
  }
  return rows;
}

function rotated<T>(list: readonly T[], by: number): T[] {
  const at = by % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

function mediansOf(runs: readonly PhaseTimes[]): PhaseTimes | null {
  const [first] = runs;
  if (first === undefined) return null;
  return Object.fromEntries(
    Object.keys(first).map((phase) => [phase, median(runs.map((run) => run[phase] ?? 0))]),
  );
}
