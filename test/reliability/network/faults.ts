import { rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { startFleet } from '../../../fleet/fleet.ts';
import { type Device, newDevice, start } from '../../support/program.ts';
import { writeSection } from '../../support/reliabilityPage.ts';
import { runCommand } from '../../support/runCommand.ts';
import { managerRows } from './manager.ts';
import { natsRows } from './nats.ts';
import { provisioningRows } from './provisioning.ts';
import type { Row } from './row.ts';

/**
 * The fault matrix: each row is a fresh fleet, one fault, and the real program. What is checked: the code that it logs
 * first, that a permanent one ends in `failed` with its remedy, and that it ends registered, accepted once, when the
 * fault is gone; what is measured: how long each took.
 *
 * `npm run test:network [-- --only TEXT] [-- --except TEXT] [-- --every N] [-- --show] [-- --write]`; `--write` puts the
 * table into docs/reliability.md, `--show` prints what a technician sees during each fault: the lines of `status` about
 * it, and the checks that fail.
 */
const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    except: { type: 'string' },
    every: { type: 'string', default: '1' },
    show: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});

interface Outcome {
  readonly row: Row;
  readonly code: string;
  readonly noticedMs: number | null;
  /** Null: the fault stays */
  readonly afterMs: number | null;
  readonly end: string;
}

const rows = [...provisioningRows, ...natsRows, ...managerRows]
  .filter(({ fault }) => fault.includes(values.only))
  .filter(({ fault }) => values.except === undefined || !fault.includes(values.except))
  .filter((_, index) => index % Number(values.every) === 0);
const outcomes: Outcome[] = [];
const failures: string[] = [];
const skipped: string[] = [];
const begun = performance.now();
for (const row of rows) {
  if (row.unable) {
    skipped.push(`${row.fault}: ${row.unable}`);
    console.log(`skipped ${row.fault}: ${row.unable}`);
    continue;
  }
  try {
    const outcome = await live(row);
    outcomes.push(outcome);
    console.log(lineOf([outcome]));
  } catch (error) {
    failures.push(row.fault);
    console.log(`| ${row.fault} | FAILED: ${String(error).slice(0, 600)} |`);
  }
}
const seconds = ((performance.now() - begun) / 1000).toFixed(0);
const summary = `${outcomes.length} rows passed, ${failures.length} failed, ${skipped.length} skipped, in ${seconds} s`;
console.log(`\n${summary}`);
if (values.write && failures.length === 0)
  writeSection('network', 'test:network', [...table(), '', `${summary}.`]);
process.exit(failures.length > 0 || outcomes.length === 0 ? 1 : 0);

async function live(row: Row): Promise<Outcome> {
  const fleet = await startFleet(row.fleet);
  const made = await row.make(fleet);
  const device = newDevice({
    provisioning: { url: fleet.provisioningUrl, timeoutMs: 1500 },
    registration: { timeoutMs: 1500 },
    ...row.device,
    ...made.device,
  });
  const program = start(device);
  const registered = () =>
    within(
      60_000,
      program.until(({ event }) => event === 'device.registered'),
    );
  try {
    const begun = performance.now();
    const first = await within(
      60_000,
      program.until(
        ({ event, code }) => event === 'device.registered' || (event === 'step.failed' && !!code),
      ),
    );
    const noticedMs = performance.now() - begun;
    if (values.show) await showTelling(device);
    const code = first.event === 'device.registered' ? 'none' : String(first.code);
    if (!row.codes.includes(code)) throw new Error(`${code}: ${first.cause}`);
    const flaw = first.event === 'step.failed' ? (row.check?.(first) ?? null) : null;
    if (flaw !== null) throw new Error(flaw);
    const once = (id: unknown) => {
      const count = fleet.manager.accepted.get(String(id))?.count;
      if (count !== 1) throw new Error(`accepted ${count} times`);
    };
    if (code === 'none') {
      await made.end?.();
      once(first.deviceId);
      return {
        row,
        code: 'none',
        noticedMs: null,
        afterMs: null,
        end: `registers in spite of it, in ${show(noticedMs)}`,
      };
    }
    const named = `${code}, ${first.class}`;
    if (first.class === 'permanent') await failedWithRemedy(program, code);
    if (!made.end) {
      const end = first.class === 'permanent' ? '`failed` with the remedy' : 'tries again, the fault stays';
      return { row, code: named, noticedMs, afterMs: null, end };
    }
    await made.end();
    const ended = performance.now();
    once((await registered()).deviceId);
    return { row, code: named, noticedMs, afterMs: performance.now() - ended, end: 'registered' };
  } finally {
    program.child.kill('SIGKILL');
    await program.ended;
    await made.clean?.();
    await fleet.stop();
    rmSync(dirname(device.stateDir), { recursive: true, force: true });
  }
}

async function failedWithRemedy(program: ReturnType<typeof start>, code: string): Promise<void> {
  const line = await within(
    10_000,
    program.until(({ event }) => event === 'device.failed'),
  );
  if (line.code !== code || typeof line.remedy !== 'string' || line.remedy === '')
    throw new Error(`failed without the remedy: ${JSON.stringify(line)}`);
}

/** Rows of a group that logged the same code and ended alike are one line. */
function table(): string[] {
  const groups = new Map<string, Outcome[]>();
  for (const outcome of outcomes) {
    const { row, code, end } = outcome;
    const key = row.group === undefined ? row.fault : `${row.group} ${code} ${end}`;
    groups.set(key, [...(groups.get(key) ?? []), outcome]);
  }
  const head = [
    '| fault | code, class | noticed after | ends | registered after the fault |',
    '| --- | --- | --- | --- | --- |',
  ];
  return [
    ...head,
    ...[...groups.values()].map(lineOf),
    ...skipped.map((text) => `| ${text} | skipped | | | |`),
  ];
}

function lineOf(alike: readonly Outcome[]): string {
  const [{ row, code, end } = {} as Outcome] = alike;
  const most = (pick: (outcome: Outcome) => number | null) => {
    const times = alike.flatMap((outcome) => pick(outcome) ?? []);
    return times.length === 0 ? '' : `${alike.length > 1 ? 'at most ' : ''}${show(Math.max(...times))}`;
  };
  const group = row.group ?? '';
  const name =
    alike.length === 1
      ? row.fault
      : `${group} ${alike.map(({ row: { fault } }) => fault.replace(group, '').trim()).join(', ')}`;
  return `| ${name} | ${code} | ${most(({ noticedMs }) => noticedMs)} | ${end} | ${most(({ afterMs }) => afterMs)} |`;
}

function show(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${ms / 1000} s`)), ms);
  });
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function showTelling(device: Device): Promise<void> {
  for (const command of ['status', 'check']) {
    const { stdout } = await runCommand(device, command);
    const telling = stdout.split('\n').filter((line) => /^(waiting|last|remedy|fail)/.test(line));
    console.log(telling.map((line) => `    ${line}`).join('\n'));
  }
}
