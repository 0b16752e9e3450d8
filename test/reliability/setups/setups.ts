/**
 * Breaks one set-up after the other, and measures how long it takes until `status` and `check` both name cause and remedy.
 *
 *     npm run test:setups -- [--every N] [--only TEXT] [--write]
 */
import { parseArgs } from 'node:util';
import { remedyOf } from '../../../src/errors/reasons.ts';
import { type Device, removeDevices } from '../../support/program.ts';
import { writeSection } from '../../support/reliabilityPage.ts';
import { runCommand } from '../../support/runCommand.ts';
import { cleanUp, type Row, setUps } from './rows.ts';

const { values } = parseArgs({
  options: {
    every: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    write: { type: 'boolean', default: false },
  },
});
const longestMs = 30_000;
const isRoot = process.geteuid?.() === 0;

/** The line of the output that names both; undefined: there is none yet. */
function tellingLine(output: string, { code, reason, shows = /^/ }: Row): string | undefined {
  const remedy = remedyOf(code, reason).replace(/\.$/, '');
  const names = (line: string) =>
    line.includes(`${code}: `) &&
    shows.test(line) &&
    (line.includes(remedy) || (reason === 'wrong-owner' && line.includes('chown -R')));
  return output.split('\n').find(names);
}

async function untilNamed(device: Device, command: string, row: Row, since: number): Promise<number> {
  for (;;) {
    const { stdout, stderr } = await runCommand(device, command);
    const ms = performance.now() - since;
    if (tellingLine(stdout + stderr, row) !== undefined) return ms;
    if (ms > longestMs) throw new Error(`${row.name}: ${command} does not name it:\n${stdout}${stderr}`);
  }
}

interface Outcome {
  readonly row: Row;
  readonly statusMs: number;
  readonly checkMs: number;
}

async function look(row: Row): Promise<Outcome> {
  try {
    const device = await row.make();
    const since = performance.now();
    const statusMs = await untilNamed(device, 'status', row, since);
    const checkMs = await untilNamed(device, 'check', row, since);
    return { row, statusMs, checkMs };
  } finally {
    removeDevices();
    await cleanUp();
  }
}

const outcomes: Outcome[] = [];
const skipped: string[] = [];
const flaws: string[] = [];
const chosen = setUps.filter(
  ({ name }, index) => index % Number(values.every) === 0 && name.includes(values.only),
);
for (const row of chosen) {
  if (row.needsRoot && !isRoot) {
    skipped.push(row.name);
    continue;
  }
  try {
    const outcome = await look(row);
    outcomes.push(outcome);
    console.log(
      `${row.name}: ${row.code} ${row.reason ?? ''} ${show(outcome.statusMs)}, ${show(outcome.checkMs)}`,
    );
  } catch (error) {
    flaws.push(String(error));
    console.log(`FAILED ${error}`);
  }
}

function show(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

const median = (all: number[]) => all.sort((a, b) => a - b)[Math.floor(all.length / 2)] ?? 0;
const [status, check] = [outcomes.map(({ statusMs }) => statusMs), outcomes.map(({ checkMs }) => checkMs)];
const summary = `${outcomes.length} of ${chosen.length} set-ups: both commands name cause and remedy; \`status\` after ${show(median(status))} in the median and ${show(Math.max(...status))} at most, then \`check\` after ${show(median(check))} and ${show(Math.max(...check))}, counted from the start of the daemon.`;
console.log(`\n${summary}`);
if (skipped.length > 0) console.log(`needs root: ${skipped.join(', ')}`);
if (values.write && flaws.length === 0) {
  const lines = outcomes.map(
    ({ row, statusMs, checkMs }) =>
      `| ${row.name} | \`${row.code}\` | ${row.reason === null ? '' : `\`${row.reason}\``} | ${show(statusMs)} | ${show(checkMs)} |`,
  );
  const head = ['| set-up | code | reason | `status` | `check` |', '| --- | --- | --- | --- | --- |'];
  writeSection('setups', 'test:setups', [...head, ...lines, '', summary]);
}
process.exitCode = flaws.length === 0 ? 0 : 1;
