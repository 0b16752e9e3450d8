/**
 * Whole lives of devices in a simulated world (test/simulation/), and the proof that this finds faults: `npm run test:simulation`.
 *
 *   --lives N    how many (100,000)        --seed S    the first seed (1)
 *   --replay S   one life, told            --mutants   only the faults that are put in on purpose
 *   --sound      no faults that are put in on purpose
 *   --write      puts the tables into docs/reliability.md
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { stateEdges } from '../../scripts/docs.ts';
import { writeSection } from '../support/reliabilityPage.ts';
import { codes } from './codes.ts';
import { type Campaign, emptyCampaign, hunt, replay } from './hunt.ts';
import { longWait } from './longWait.ts';
import { buildMutant, mutants } from './mutants.ts';
import { adversaryMoves, managerFaults, natsFaults, provisioningFaults } from './plan.ts';
import { rollBackAtEachStep } from './rollback.ts';

const { values } = parseArgs({
  options: {
    lives: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    replay: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    sound: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    worker: { type: 'boolean', default: false },
  },
});
const lives = Number(values.lives);
const firstSeed = Number(values.seed);
const livesPerMutant = 20_000;

process.on('unhandledRejection', (error) => {
  console.error('unhandled rejection:', error);
  process.exit(1);
});

if (values.worker) await work();
else if (values.replay !== undefined) await tell(Number(values.replay));
else {
  const found = values.sound || (await findMutants());
  const sound = values.mutants || ((await simulate()) && (await rollBacks()) && (await waitForWeeks()));
  process.exitCode = found && sound ? 0 : 1;
}

/** Lives a share of the lives, for the process that asked. */
async function work(): Promise<void> {
  // Most of the errors are files that are not there, and a violation is replayed, with its stacks, by the process that asked.
  Error.stackTraceLimit = 0;
  process.send?.(await hunt(firstSeed, lives));
  process.disconnect?.();
}

async function simulate(): Promise<boolean> {
  const started = performance.now();
  const workers = Math.min(availableParallelism(), lives);
  const share = Math.ceil(lives / workers);
  console.log(`${lives} lives from seed ${firstSeed} on, in ${workers} processes`);
  const shares = await Promise.all(
    Array.from({ length: workers }, (_, index) => {
      const from = firstSeed + index * share;
      return hunted(from, Math.min(share, firstSeed + lives - from));
    }),
  );
  const campaign = shares.reduce(merge, emptyCampaign());
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `${campaign.lives} lives in ${seconds.toFixed(0)} s, ${(campaign.lives / seconds).toFixed(0)} a second; ` +
      `${campaign.boots} boots, ${campaign.steps} steps; ${campaign.failed} ended lawfully in failed`,
  );
  const reached = report(campaign);
  for (const [what, names] of Object.entries(reached.missed))
    for (const name of names) console.log(`not reached, ${what}: ${name}`);
  for (const name of reached.crashes)
    console.log(`  ${String(campaign.reached[name]).padStart(7)} × ${name}`);
  if (values.write) {
    writeSection('simulation', 'test:simulation', [
      '| what | count |',
      '| --- | --- |',
      `| lives, seeds ${firstSeed} to ${firstSeed + lives - 1} | ${campaign.lives} |`,
      `| boots | ${campaign.boots} |`,
      `| calls of disk and wire at which a life could be struck | ${campaign.steps} |`,
      `| lives that broke an invariant | ${campaign.violations.length} |`,
      `| lives that ended in \`failed\` as they should (a clone, a clash, an identity that is nowhere) | ${campaign.failed} |`,
      ...reached.rows,
      `| kinds of crash points (power cut or kill, before which call on which file) | ${reached.crashes.length} |`,
      `| lives a second | ${(campaign.lives / seconds).toFixed(0)} |`,
    ]);
  }
  for (const { seed, violation } of campaign.violations)
    console.log(`VIOLATION at seed ${seed}: ${violation}`);
  const [first] = campaign.violations;
  if (first) await tell(first.seed);
  return campaign.violations.length === 0 && campaign.lives === lives;
}

async function rollBacks(): Promise<boolean> {
  const { strikes, violations } = await rollBackAtEachStep();
  console.log(
    `${strikes} rollbacks of a renewal, each struck at another step; violations: ${violations.length}`,
  );
  for (const violation of violations) console.log(`VIOLATION: ${violation}`);
  return violations.length === 0;
}

async function waitForWeeks(): Promise<boolean> {
  const { violation, renewals, heap } = await longWait(8, 6);
  const shown = heap.map((megabytes) => megabytes.toFixed(1)).join(', ');
  console.log(
    `six lives of eight weeks each: ${violation ?? `${renewals} renewals`}; heap after each, MB: ${shown}`,
  );
  const grown = (heap.at(-1) ?? 0) - (heap[1] ?? 0);
  return violation === null && grown < 5;
}

async function hunted(from: number, count: number): Promise<Campaign> {
  const args = ['--worker', '--seed', String(from), '--lives', String(count)];
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), args);
  const [answer] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`a worker ended with ${code}`))),
  ]);
  return answer as Campaign;
}

function merge(all: Campaign, one: Campaign): Campaign {
  for (const [name, count] of Object.entries(one.reached))
    all.reached[name] = (all.reached[name] ?? 0) + count;
  return {
    lives: all.lives + one.lives,
    boots: all.boots + one.boots,
    steps: all.steps + one.steps,
    failed: all.failed + one.failed,
    reached: all.reached,
    violations: [...all.violations, ...one.violations],
  };
}

/** What was reached of all that there is, and what was not. */
function report({ reached }: Campaign) {
  const names = Object.keys(reached);
  const faults = [
    ...provisioningFaults.map((name) => `fault provisioning: ${name}`),
    ...natsFaults.map((name) => `fault nats: ${name}`),
    ...managerFaults.map((name) => `fault manager: ${name}`),
    ...adversaryMoves.map((name) => `fault adversary: ${name}`),
    ...['EIO', 'ENOSPC', 'EROFS'].map((name) => `fault disk: ${name}`),
  ];
  const edges = stateEdges().map(([from, to]) => `edge ${from} → ${to}`);
  const missed: Record<string, string[]> = {};
  const rows = Object.entries({
    'edges of the statechart': [edges, names],
    'error codes': [codes, names.flatMap((name) => name.match(/^code (\w+)/)?.[1] ?? [])],
    'kinds of faults': [faults, names],
  } satisfies Record<string, [readonly string[], readonly string[]]>).map(([what, [all = [], seen = []]]) => {
    missed[what] = all.filter((name) => !seen.includes(name));
    const without = missed[what].length > 0 ? `, not: ${missed[what].join(', ')}` : '';
    return `| ${what} reached | ${all.length - missed[what].length} of ${all.length}${without} |`;
  });
  return { rows, missed, crashes: names.filter((name) => /^(power cut|kill) before/.test(name)).sort() };
}

async function tell(seed: number): Promise<void> {
  const { plan, outcome } = await replay(seed);
  console.log(`seed ${seed}, ${outcome.violation ?? `ends ${outcome.endedAs}`}; what befalls it:`);
  for (const adversity of plan.adversities) console.log(`  ${JSON.stringify(adversity)}`);
  for (const line of outcome.story) console.log(line);
}

async function findMutants(): Promise<boolean> {
  let missed = 0;
  const rows: string[] = [];
  for (const mutant of mutants) {
    await using built = await buildMutant(mutant);
    const campaign = await built.hunt(firstSeed, livesPerMutant, 1);
    const [violation] = campaign.violations;
    if (violation === undefined) {
      missed++;
      console.log(`NOT FOUND in ${campaign.lives} lives: ${mutant.name}`);
      continue;
    }
    const { plan, outcome } = await built.replay(violation.seed);
    rows.push(
      `| ${mutant.name} | ${campaign.lives} | ${(outcome.violation ?? '').replace(/:.*/, '')} | ${plan.adversities.length} |`,
    );
    console.log(
      `found in life ${campaign.lives} (seed ${violation.seed}): ${mutant.name}: ${violation.violation}; ` +
        `shortest: ${plan.adversities.length} adversities, ${outcome.story.length} lines`,
    );
  }
  if (values.write) {
    const head = [
      '| fault put in | found in life | what broke | adversities in its shortest story |',
      '| --- | --- | --- | --- |',
    ];
    writeSection('mutants', 'test:simulation', [...head, ...rows]);
  }
  return missed === 0;
}
