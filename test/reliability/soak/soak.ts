import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startFleet } from '../../../fleet/fleet.ts';
import { startRelay } from '../../fleet/relay.ts';
import { linePlot, type Series } from '../../support/plot.ts';
import { type Device, newDevice, type Running, removeDevices, start } from '../../support/program.ts';
import { writeSection } from '../../support/reliabilityPage.ts';

/**
 * Long life: one daemon that loses its connection thousands of times, one that is refused thousands of times, and one
 * device whose daemon is started over and over. Memory and open files must stay flat, nothing may be warned of, no
 * rejection may go unhandled.
 *
 * `npm run test:soak [-- --reconnects N] [-- --refusals N] [-- --restarts N] [-- --bytes N] [-- --write]`
 */
const { values } = parseArgs({
  options: {
    reconnects: { type: 'string', default: '3000' },
    refusals: { type: 'string', default: '3000' },
    restarts: { type: 'string', default: '300' },
    bytes: { type: 'string', default: '200' },
    write: { type: 'boolean', default: false },
  },
});
/** The heap's growth that passes. 200 bytes a cycle are 100 MB in a year of one cycle a minute. */
const mostBytesPerCycle = Number(values.bytes);
const samples = 60;

interface Sample {
  readonly cycle: number;
  /** After a full collection, bytes */
  readonly heap: number;
  /** Resident, bytes */
  readonly resident: number;
  readonly files: number;
}

const folder = mkdtempSync(join(tmpdir(), 'long-'));
const preload = join(folder, 'sample.cjs');
// On SIGUSR2: a full collection, then what the process holds, as a line on standard error.
writeFileSync(
  preload,
  `require('node:v8').setFlagsFromString('--expose-gc');
const collect = require('node:vm').runInNewContext('gc');
process.on('SIGUSR2', () => {
  collect(); collect();
  const { heapUsed, rss } = process.memoryUsage();
  process.stderr.write('sample ' + JSON.stringify({ heap: heapUsed, resident: rss }) + '\\n');
});`,
);
const quick = { initialMs: 1, maxMs: 2, factor: 1, failedAfterMs: 1 };
const rows: string[] = [];
const problems: string[] = [];
const heaps: Series[] = [];
const fleet = await startFleet({ api: 'plain' });
const gate = await startRelay({ to: { host: '127.0.0.1', port: fleet.nats.port } });
try {
  await cycles('connections lost', Number(values.reconnects), 'NATS_UNREACHABLE', () => {
    fleet.manager.behave = () => {
      // The question arrived: now the connection goes.
      void gate.cut({ refuse: false });
      return 'ignore';
    };
  });
  fleet.manager.behave = () => undefined;
  await cycles('refusals by HTTP 503', Number(values.refusals), 'PROVISIONING_REJECTED', () => {
    fleet.provisioning.behave = () => ({ status: 503 });
  });
  fleet.provisioning.behave = () => undefined;
  await restarts(Number(values.restarts));
} finally {
  removeDevices();
  await gate.stop();
  await fleet.stop();
  rmSync(folder, { recursive: true, force: true });
}
const head = [
  '| what | cycles | took | heap, bytes a cycle | resident, bytes a cycle | open files, first and last |',
  '| --- | --- | --- | --- | --- | --- |',
];
for (const line of [...head, ...rows, ...problems.map((text) => `  ${text}`)]) console.log(line);
if (values.write) plot();
if (values.write && problems.length === 0) {
  const picture = ['', '![heap of one daemon over its cycles](plots/soak.svg)'];
  writeSection('soak', 'test:soak', [...head, ...rows, ...picture]);
}
process.exit(problems.length > 0 ? 1 : 0);

/** One daemon that fails so many times, and is sampled meanwhile. */
async function cycles(what: string, count: number, code: string, spoil: () => void): Promise<void> {
  if (count === 0) return;
  spoil();
  const device = deviceAt();
  const begun = performance.now();
  const taken: Sample[] = [];
  let failures = 0;
  let program: Running | undefined;
  const enough = new Promise<void>((resolve) => {
    program = start(device, [], { NODE_OPTIONS: `--require ${preload}` }, (line) => {
      if (line.event !== 'step.failed') return;
      failures += 1;
      if (line.code !== code) problems.push(`${what}: ${line.code}: ${line.cause}`);
      // The first tenth warms up: code is compiled, caches fill.
      if (failures > count / 10 && failures % Math.ceil((count * 0.9) / samples) === 0)
        ask(program, failures);
      if (failures === count) resolve();
    });
  });
  const pending: number[] = [];
  const ask = (running: Running | undefined, cycle: number) => {
    pending.push(cycle);
    running?.child.kill('SIGUSR2');
  };
  let text = '';
  program?.child.stderr?.on('data', (chunk) => {
    text += chunk;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const line = text.slice(0, end);
      text = text.slice(end + 1);
      if (!line.startsWith('sample ')) problems.push(`${what}: on standard error: ${line}`);
      else
        taken.push({ cycle: pending.shift() ?? 0, ...JSON.parse(line.slice(7)), files: openFiles(program) });
    }
  });
  await enough;
  program?.child.kill('SIGTERM');
  const end = await program?.ended;
  if (end !== 0) problems.push(`${what}: it ended with ${end}`);
  judge(what, count, taken, performance.now() - begun);
}

/** One device, registered, whose daemon is started and stopped over and over. */
async function restarts(count: number): Promise<void> {
  if (count === 0) return;
  const device = deviceAt();
  const begun = performance.now();
  const held: Sample[] = [];
  for (let cycle = 1; cycle <= count; cycle++) {
    const program = start(device);
    await program.until(({ event, to }) => event === 'state.changed' && to === 'registered');
    held.push({ cycle, heap: 0, resident: residentOf(program), files: openFiles(program) });
    program.child.kill('SIGTERM');
    const end = await program.ended;
    if (end !== 0 || program.stderr() !== '') problems.push(`restart ${cycle}: ${end} ${program.stderr()}`);
  }
  const accepted = [...fleet.manager.accepted.values()].at(-1)?.count;
  if (accepted !== 1) problems.push(`restarts: accepted ${accepted} times`);
  const left = readdirSync(device.stateDir).length;
  if (left !== 8) problems.push(`restarts: ${left} files in the state directory`);
  judge('starts of the daemon', count, held, performance.now() - begun);
}

function deviceAt(): Device {
  return newDevice({
    provisioning: { url: fleet.provisioningUrl },
    nats: { url: `127.0.0.1:${gate.port}` },
    retry: quick,
    // Every failure has its line: none is left out as a repetition.
    log: { level: 'debug', format: 'json' },
  });
}

function judge(what: string, count: number, taken: readonly Sample[], ms: number): void {
  // The first half warms up: code is compiled, caches and feedback fill.
  const late = taken.filter(({ cycle }) => cycle > count / 2);
  const heap = slope(late.map(({ cycle, heap: bytes }) => [cycle, bytes]));
  const resident = slope(late.map(({ cycle, resident: bytes }) => [cycle, bytes]));
  const [first, last] = [taken[0]?.files ?? 0, taken.at(-1)?.files ?? 0];
  // Two standard errors below: growth that the samples' own noise does not explain.
  if (heap.perCycle - 2 * heap.error > mostBytesPerCycle)
    problems.push(`${what}: the heap grows by ${show(heap)} bytes a cycle`);
  if (last > first + 2) problems.push(`${what}: open files went from ${first} to ${last}`);
  if (taken.length < 5) problems.push(`${what}: only ${taken.length} samples`);
  if (heap.perCycle !== 0) {
    heaps.push({ name: what, points: taken.map(({ cycle, heap: bytes }) => [cycle, bytes / 1e6]) });
  }
  const heapShown = what.startsWith('starts') ? '' : show(heap);
  rows.push(
    `| ${what} | ${count} | ${(ms / 1000).toFixed(0)} s | ${heapShown} | ${show(resident)} | ${first}, ${last} |`,
  );
}

function plot(): void {
  const svg = linePlot({
    title: 'What one daemon holds after thousands of failures',
    subtitle: `npm run test:soak, ${new Date().toISOString().slice(0, 10)}`,
    xLabel: 'cycles',
    yLabel: 'heap after a full collection, MB',
    series: heaps,
  });
  writeFileSync(fileURLToPath(new URL('../../../docs/plots/soak.svg', import.meta.url)), svg);
}

/** Least squares: bytes a cycle, and the standard error of that. */
function slope(points: readonly (readonly [x: number, y: number])[]): { perCycle: number; error: number } {
  const n = points.length;
  const mean = (pick: 0 | 1) => points.reduce((sum, point) => sum + point[pick], 0) / n;
  const [mx, my] = [mean(0), mean(1)];
  const sxx = points.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
  const sxy = points.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0);
  const perCycle = sxy / sxx;
  const rest = points.reduce((sum, [x, y]) => sum + (y - my - perCycle * (x - mx)) ** 2, 0);
  return { perCycle, error: Math.sqrt(rest / Math.max(1, n - 2) / sxx) };
}

function show({ perCycle, error }: { perCycle: number; error: number }): string {
  return `${perCycle.toFixed(0)} ± ${error.toFixed(0)}`;
}

function openFiles(program: Running | undefined): number {
  try {
    return readdirSync(`/proc/${program?.child.pid}/fd`).length;
  } catch {
    return 0;
  }
}

function residentOf(program: Running): number {
  const [, pages = '0'] = readFileSync(`/proc/${program.child.pid}/statm`, 'utf8').split(' ');
  return Number(pages) * 4096;
}
