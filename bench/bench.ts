/**
 * Measures onboardd next to a small Go client and an empty Node process.
 *
 *   npm run bench                  whole onboardings in pairs, and where their time goes
 *     -- --runs N                  rounds, 15 by default
 *     -- --packaged                makes the single executable where there is none of this build
 *     -- --phases                  also what each dependency costs
 *     -- --rest                    also the daemon at rest (three minutes) and the wear of the disk
 *     -- --counts                  only what is counted: fsyncs, children, round trips; with --write: bench/limits.json
 *     -- --write                   all of it, into docs/performance.md and docs/performance-*.svg
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { arch, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../packaging/tools.mjs';
import { commitMeasured } from '../test/support/commit.ts';
import { measureAtRest } from './atRest.ts';
import { type Contenders, contenders, listed } from './contenders.ts';
import { bundleBytes, cacheBytes, count, countLoaded } from './counts.ts';
import { measureDependencies } from './dependencies.ts';
import { measureFailedAttempts, measureRestWear } from './diskWear.ts';
import { type FleetProcess, startFleetProcess } from './fleetProcess.ts';
import { measureLatency } from './latency.ts';
import type { CountRow, Measured, Setting } from './measured.ts';
import {
  countTable,
  dependencyTable,
  latencyTable,
  phaseTable,
  plots,
  restTable,
  wearTable,
} from './page.ts';
import { performancePage } from './performancePage.ts';
import { timeRoundTrips } from './timedRoundTrips.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '15' },
    packaged: { type: 'boolean', default: false },
    phases: { type: 'boolean', default: false },
    rest: { type: 'boolean', default: false },
    counts: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});
const runs = Number(values.runs);
if (!Number.isInteger(runs) || runs < 1) throw new RangeError('--runs takes a whole number from 1');
const isWhole = values.write && !values.counts;
const say = (line: string) => console.error(line);

const programs = await contenders(values.packaged);
const fleet = await startFleetProcess();
try {
  const measured = await measure(programs, fleet);
  if (isWhole) writePage(measured);
  else if (values.write) writeLimits(measured, await cacheBytes(fleet));
  show(measured);
} finally {
  await fleet.stop();
}

async function measure(all: Contenders, at: FleetProcess): Promise<Measured> {
  const { checkout } = all;
  const wantsCounts = values.counts || isWhole;
  const wantsDependencies = values.phases || isWhole;
  if (wantsDependencies) say('dependencies');
  const dependencies = wantsDependencies ? await measureDependencies(process.execPath) : null;
  const latency = values.counts ? null : await measureLatency(all, runs, say);
  if (wantsCounts) say('counts');
  const counts = wantsCounts ? await countAll(all, at) : null;
  const loaded = wantsCounts ? await countLoaded(checkout, at) : null;
  const wantsRest = values.rest || isWhole;
  if (wantsRest) say('at rest: three minutes');
  const failedAttempt = wantsRest ? await measureFailedAttempts(checkout) : null;
  const restWear = wantsRest ? await measureRestWear(checkout, at) : null;
  const atRest = wantsRest ? await measureAtRest(all, at) : null;
  const setting = settingOf(all);
  return {
    setting,
    latency,
    dependencies,
    counts,
    loaded,
    bundleBytes: bundleBytes(),
    atRest,
    failedAttempt,
    restWear,
  };
}

async function countAll(all: Contenders, at: FleetProcess): Promise<CountRow[]> {
  const rows: CountRow[] = [];
  for (const one of listed(all).filter(({ onboards }) => onboards)) {
    const counts = await count(one, at);
    rows.push({ name: one.name, ...counts, timedRoundTrips: await timeRoundTrips(one, at) });
  }
  return rows;
}

function settingOf(all: Contenders): Setting {
  const [{ model = 'unknown processor' } = {}] = cpus();
  const disk = execFileSync('stat', ['-f', '-c', '%T', tmpdir()], { encoding: 'utf8' }).trim();
  return {
    commit: commitMeasured(),
    machine: `${cpus().length} cores (${model.trim()}, ${arch()}), Node ${process.versions.node}, temporary folder on ${disk}, load average ${loadavg()[1]?.toFixed(1)} of the last five minutes`,
    command: `npm run bench -- --write --runs ${runs}${values.packaged ? ' --packaged' : ''}`,
    runs,
    programs: listed(all).map(({ name, what }) => [name, what]),
  };
}

function show(measured: Measured): void {
  const { latency, counts, dependencies, atRest } = measured;
  const parts = [
    ...(latency === null ? [] : [latencyTable(latency), phaseTable(latency)]),
    ...(dependencies === null ? [] : [dependencyTable(measured)]),
    ...(counts === null ? [] : [countTable(measured)]),
    ...(atRest === null ? [] : [restTable(measured), wearTable(measured)]),
  ];
  console.log(parts.join('\n\n'));
}

function writePage(measured: Measured): void {
  writeFileSync(join(root, 'docs/performance.md'), performancePage(measured));
  for (const [name, svg] of plots(measured)) writeFileSync(join(root, 'docs', name), svg);
}

/** What the counts may not exceed from now on. */
function writeLimits({ counts, loaded, bundleBytes: bytes }: Measured, cache: number): void {
  const checkout = counts?.find(({ name }) => name === 'checkout');
  if (checkout === undefined || loaded === null) throw new Error('nothing was counted');
  const file = join(root, 'bench/limits.json');
  const before = JSON.parse(readFileSync(file, 'utf8')) as Record<
    'builtinsLoaded' | 'cacheBytes' | 'atRest',
    object
  >;
  const [major = ''] = process.versions.node.split('.');
  const limits = {
    syncs: checkout.syncs,
    children: checkout.children,
    roundTrips: checkout.roundTrips,
    filesLoaded: loaded.files,
    bytesLoaded: loaded.bytes,
    builtinsLoaded: { ...before.builtinsLoaded, [major]: loaded.builtins },
    bundleBytes: bytes,
    cacheBytes: { ...before.cacheBytes, [major]: cache },
    // By hand: V8's own threads wake up a few times more or less.
    atRest: before.atRest,
  };
  writeFileSync(file, `${JSON.stringify(limits, null, 2)}\n`);
}
