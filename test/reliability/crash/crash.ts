import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Fleet, startFleet } from '../../../fleet/fleet.ts';
import type { Device } from '../../support/program.ts';
import { writeSection } from '../../support/reliabilityPage.ts';
import { inParallel, sample, seeded } from '../../support/sample.ts';
import {
  type Call,
  descriptorOf,
  diskCalls,
  readTrace,
  runProgram,
  type Spot,
  spoiling,
  textsOf,
  tracing,
  wireCalls,
} from '../../support/strace/strace.ts';
import {
  type AdoptingLife,
  flawsAfterKill,
  flawsOfAdoption,
  newAdoptingLife,
  newLife,
  removeDevice,
  type Sight,
  sightOf,
  violationsOf,
} from '../../support/strace/tracedLife.ts';

/**
 * The crash matrix: the real program is killed at every call that changes the state directory or the wire, one after
 * the other, and started again; then killed once more at a call of that second life, and started a third time. What
 * must hold is looked at from outside after each life (test/support/strace/tracedLife.ts).
 *
 * `npm run test:crash [-- --singles N] [-- --pairs N] [-- --adopted N] [-- --all] [-- --seed N] [-- --jobs N]
 * [-- --write]`; needs strace.
 * Singles are all by default, also those of a device that adopts what an earlier agent left; pairs 300, drawn from the
 * seed; `--all` takes every pair (hours).
 */
const { values } = parseArgs({
  options: {
    singles: { type: 'string' },
    pairs: { type: 'string', default: '300' },
    adopted: { type: 'string' },
    all: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
    jobs: { type: 'string', default: '2' },
    write: { type: 'boolean', default: false },
  },
});
const random = seeded(Number(values.seed));
const jobs = Number(values.jobs);
const calls = [...new Set<string>([...diskCalls, ...wireCalls])];
/** Calls on any descriptor are counted where the wire may be meant, on the state directory alone elsewhere. */
const onWire = new Set<string>(wireCalls);

interface Tally {
  lives: number;
  readonly violations: string[];
}
const tallies = new Map<string, Tally>();
let threads = '';
const begun = performance.now();
const fleet = await startFleet();
try {
  const trace = await wholeLife(fleet);
  reportThreads(trace.calls, trace.device);
  const spots = spotsOf(trace.calls, trace.device);
  const singles = sample(spots, Number(values.singles ?? spots.length), random);
  await inParallel(singles, jobs, async (spot) => {
    await live(fleet, [spot]);
  });
  const { calls: adopting, device: adopter } = await wholeLife(fleet, (await newAdoptingLife(fleet)).device);
  const adoptingSpots = spotsOf(adopting, adopter);
  await inParallel(
    sample(adoptingSpots, Number(values.adopted ?? values.singles ?? adoptingSpots.length), random),
    jobs,
    async (spot) => {
      await live(fleet, [spot], await newAdoptingLife(fleet));
    },
  );
  if (values.all) for (const first of spots) await everySecond(fleet, first, spots);
  else await drawnPairs(fleet, spots, Number(values.pairs));
} finally {
  await fleet.stop();
}
report();

/** One device: killed at each spot in turn, life after life, then left to register. @returns how many kills came */
async function live(fleet: Fleet, spots: readonly Spot[], adopting?: AdoptingLife): Promise<number> {
  const { device, swarm } = adopting ?? newLife(fleet);
  const sights: Sight[] = [];
  const flaws: string[] = [];
  let kills = 0;
  for (const spot of spots) {
    const end = await runProgram(device, spoiling(device, spot, 'signal=SIGKILL'));
    const sight = sightOf(device);
    sights.push(sight);
    flaws.push(...flawsAfterKill(fleet, swarm, sight));
    if (adopting) flaws.push(...flawsOfAdoption(fleet, adopting, sight));
    if (end === 0) break;
    kills += 1;
  }
  const end = await runProgram(device);
  const last = sightOf(device);
  sights.push(last);
  if (adopting) flaws.push(...flawsOfAdoption(fleet, adopting, last));
  const where = spots.map(({ call, number }) => `${call} ${number}`).join(', then ');
  const violations = [...flaws, ...violationsOf(fleet, swarm, sights, end)].map(
    (text) => `${where}: ${text}`,
  );
  for (const violation of violations) console.log(`  ${violation}`);
  const how = kills === 0 ? 'not reached' : kills === 1 ? `once, ${spots[0]?.call}` : 'again in the recovery';
  const name = adopting ? `adopting, ${how}` : how;
  const tally = tallies.get(name) ?? { lives: 0, violations: [] };
  tally.lives += 1;
  tally.violations.push(...violations);
  tallies.set(name, tally);
  removeDevice(device);
  return kills;
}

/** Pairs of kills, until so many second ones have come. */
async function drawnPairs(fleet: Fleet, spots: readonly Spot[], count: number): Promise<void> {
  const pick = () => spots[Math.floor(random() * spots.length)] as Spot;
  let came = 0;
  const draw = async () => {
    while (came < count) {
      const pair = [pick(), pick()];
      came += 1;
      // A second life is shorter: where it ends before the second spot, the pair is drawn anew.
      if ((await live(fleet, pair)) < 2) came -= 1;
    }
  };
  await Promise.all(Array.from({ length: jobs }, draw));
}

/** Every call of the second life after one kill of the first. */
async function everySecond(fleet: Fleet, first: Spot, spots: readonly Spot[]): Promise<void> {
  await inParallel(calls, jobs, async (call) => {
    const many = spots.filter((spot) => spot.call === call).length;
    for (let number = 1; number <= many; number++) {
      if ((await live(fleet, [first, { call, number, on: onWire.has(call) ? 'anything' : 'disk' }])) < 2)
        break;
    }
  });
}

async function wholeLife(
  fleet: Fleet,
  device: Device = newLife(fleet).device,
): Promise<{ calls: Call[]; device: Device }> {
  const folder = mkdtempSync(join(tmpdir(), 'trace-'));
  const file = join(folder, 'trace');
  const end = await runProgram(device, tracing(file));
  if (end !== 0) throw new Error(`the traced life ended with ${end}`);
  const calls = readTrace(file);
  rmSync(folder, { recursive: true, force: true });
  removeDevice(device);
  return { calls, device };
}

/** Whether a call touches the state directory or a connection. */
function touches(call: Call, { stateDir }: Device): boolean {
  const descriptor = descriptorOf(call);
  if (/^(TCP|TCPv6|UDP|socket):/.test(descriptor)) return true;
  return [descriptor, ...textsOf(call).map(String)].some((path) => path.startsWith(stateDir));
}

/** The kill points: as many of each call as one whole life has, those before the state directory is opened left out. */
function spotsOf(trace: readonly Call[], device: Device): Spot[] {
  const main = trace[0]?.thread;
  return calls.flatMap((call) => {
    const on: Spot['on'] = onWire.has(call) ? 'anything' : 'disk';
    const own = trace.filter(({ name, thread }) => name === call && thread === main);
    const counted = on === 'disk' ? own.filter((one) => touches(one, device)) : own;
    const first =
      on === 'disk'
        ? 0
        : Math.max(
            0,
            counted.findIndex((one) => touches(one, device)),
          );
    return counted.slice(first).map((_, index) => ({ call, number: first + index + 1, on }));
  });
}

/** The other threads, and the child that takes the lock, must leave state directory and wire alone. */
function reportThreads(trace: readonly Call[], device: Device): void {
  const main = trace[0]?.thread;
  const others = trace.filter(({ thread }) => thread !== main);
  const passive = new Set(['flock', 'close']);
  const changing = others.filter((call) => !passive.has(call.name) && touches(call, device));
  const count = new Set(others.map(({ thread }) => thread)).size;
  const unknown = trace.filter(
    (call) =>
      call.thread === main && touches(call, device) && !calls.includes(call.name) && !passive.has(call.name),
  );
  threads = `One life: ${trace.length} calls; ${count} other threads and processes, of whose ${others.length} calls ${changing.length} touch state directory or wire.`;
  console.log(threads);
  for (const { name, thread } of [...changing, ...unknown]) {
    tallies.set(`${name} of thread ${thread}`, { lives: 0, violations: [`${name} is not killed at`] });
  }
}

function report(): void {
  const rows = [...tallies]
    .sort()
    .map(([name, { lives, violations }]) => `| ${name} | ${lives} | ${violations.length} |`);
  const table = ['| killed | lives | violations |', '| --- | --- | --- |', ...rows];
  const all = [...tallies.values()];
  const lives = all.reduce((sum, tally) => sum + tally.lives, 0);
  const bad = all.reduce((sum, { violations }) => sum + violations.length, 0);
  const seconds = ((performance.now() - begun) / 1000).toFixed(0);
  const summary = `seed ${values.seed}: ${lives} lives in ${seconds} s, ${bad} violations`;
  for (const line of ['', ...table, '', summary]) console.log(line);
  if (values.write && bad === 0)
    writeSection('crash', 'test:crash', [threads, '', ...table, '', `${summary}.`]);
  process.exitCode = bad > 0 || lives === 0 ? 1 : 0;
}
