import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Fleet, startFleet } from '../../../fleet/fleet.ts';
import { writeSection } from '../../support/reliabilityPage.ts';
import {
  descriptorOf,
  readTrace,
  runProgram,
  statePaths,
  textsOf,
  tracing,
} from '../../support/strace/strace.ts';
import { newLife, removeDevice } from '../../support/strace/tracedLife.ts';
import { live, type Outcome } from './row.ts';
import { diskRows } from './rows.ts';

/**
 * Disk faults with real parts: what the device logs, that nothing of its identity is lost that could be kept, and that
 * it ends registered once the disk is mended.
 *
 * `npm run test:disk [-- --only TEXT] [-- --every N] [-- --write]`; needs strace; rows that need root or mount say so where
 * they lack it.
 */
const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    every: { type: 'string', default: '1' },
    write: { type: 'boolean', default: false },
  },
});
const outcomes: Outcome[] = [];
const failures: string[] = [];
const skipped = new Map<string, number>();
const begun = performance.now();
const fleet = await startFleet();
try {
  const rows = diskRows(await callsOfOneLife(fleet))
    .filter(({ fault }) => fault.includes(values.only))
    .filter((_, index) => index % Number(values.every) === 0);
  for (const row of rows) {
    if (row.unable) {
      const text = `${row.group ?? row.fault}: ${row.unable}`;
      skipped.set(text, (skipped.get(text) ?? 0) + 1);
      continue;
    }
    try {
      const outcome = await live(fleet, row);
      if (outcome === null) {
        const text = `${row.group}: registered before it came`;
        skipped.set(text, (skipped.get(text) ?? 0) + 1);
        continue;
      }
      outcomes.push(outcome);
      if (row.group === undefined) console.log(`| ${row.fault} | ${outcome.code} | ${outcome.end} |`);
    } catch (error) {
      failures.push(row.fault);
      console.log(`| ${row.fault} | FAILED: ${String(error).slice(0, 700)} |`);
    }
  }
} finally {
  await fleet.stop();
}
const seconds = ((performance.now() - begun) / 1000).toFixed(0);
for (const line of table()) console.log(line);
for (const [text, count] of skipped) console.log(`skipped ${text} (${count})`);
const left = [...skipped.values()].reduce((sum, count) => sum + count, 0);
const summary = `${outcomes.length} rows passed, ${failures.length} failed, ${left} skipped, in ${seconds} s`;
console.log(`\n${summary}`);
if (values.write && failures.length === 0) writeSection('disk', 'test:disk', [...table(), '', `${summary}.`]);
process.exitCode = failures.length > 0 || outcomes.length === 0 ? 1 : 0;

/** How often each call meets the state directory in one life. */
async function callsOfOneLife(fleet: Fleet): Promise<Record<string, number>> {
  const folder = mkdtempSync(join(tmpdir(), 'trace-'));
  const { device } = newLife(fleet);
  await runProgram(device, tracing(join(folder, 'trace')));
  const paths = statePaths(device);
  const met = readTrace(join(folder, 'trace')).filter((call) =>
    [descriptorOf(call), ...textsOf(call).map(String)].some((path) => paths.includes(path)),
  );
  rmSync(folder, { recursive: true, force: true });
  removeDevice(device);
  const count = (name: string) => met.filter((call) => call.name === name).length;
  const spoilt = ['fsync', 'rename', 'write', 'openat', 'fchmod', 'unlink', 'close', 'mkdir'];
  return Object.fromEntries(spoilt.map((name) => [name, count(name)]));
}

function table(): string[] {
  const groups = new Map<string, Outcome[]>();
  for (const outcome of outcomes) {
    const key = outcome.row.group ?? outcome.row.fault;
    groups.set(key, [...(groups.get(key) ?? []), outcome]);
  }
  const lines = [...groups].map(([name, alike]) => {
    const codes = new Map<string, number>();
    for (const { code } of alike) codes.set(code, (codes.get(code) ?? 0) + 1);
    const told = [...codes]
      .map(([code, count]) => (alike.length > 1 ? `${code} (${count})` : code))
      .join(', ');
    return `| ${name} | ${alike.length} | ${told} | ${[...new Set(alike.map(({ end }) => end))].join('; ')} |`;
  });
  const left = [...skipped].map(([text, count]) => `| ${text} | ${count} | skipped | |`);
  return ['| fault | rows | code | ends |', '| --- | --- | --- | --- |', ...lines, ...left];
}
