/**
 * Many devices against one stand-in fleet, all on this machine: throughput, latency, processor time and memory by device.
 *
 *   npm run bench:scale                       1, 10, 100, 1,000 and 5,000 devices that power on within a second
 *     -- --devices 1,10,100                   other numbers
 *     -- --processes N                        over which the devices are spread, 2 by default
 *     -- --limit SECONDS                      after which a size is given up and what was reached is told, 300 by default
 *     -- --write                              into docs/performance-scale.md
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { AgentReport, Assignment } from '../fleet/rehearsal/agents.ts';
import { root } from '../packaging/tools.mjs';
import { commitMeasured } from '../test/support/commit.ts';
import { startFleetProcess } from './fleetProcess.ts';
import { processorMsOf, residentOf } from './processor.ts';
import { quantile } from './statistics.ts';
import { fixed, table } from './table.ts';

const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '1,10,100,1000,5000' },
    processes: { type: 'string', default: '2' },
    limit: { type: 'string', default: '300' },
    write: { type: 'boolean', default: false },
  },
});
const sizes = values.devices.split(',').map(Number);
if (!sizes.every((size) => Number.isInteger(size) && size > 0))
  throw new RangeError('--devices takes whole numbers');
const powerOnMs = 1000;
const mib = 2 ** 20;

/** What one number of devices did. */
interface Scale {
  readonly devices: number;
  readonly registered: number;
  /** from the first power on to the last registration */
  readonly seconds: number;
  /** of each device, from power on to registered, milliseconds */
  readonly took: readonly number[];
  readonly failedAttempts: Readonly<Record<string, number>>;
  readonly agentMs: number;
  readonly fleetMs: number;
  /** the largest resident set of all agents, over that of agents without devices, bytes */
  readonly agentBytes: number;
}

const measured: Scale[] = [];
for (const size of sizes) {
  measured.push(await scale(size));
  console.error(`${size} devices: done`);
}
const page = pageOf(measured);
console.log(page);
if (values.write) writeFileSync(join(root, 'docs/performance-scale.md'), page);
process.exit(0);

/** A fleet and agents of their own for each size. */
async function scale(devices: number): Promise<Scale> {
  const folder = mkdtempSync(join(tmpdir(), 'scale-'));
  const fleet = await startFleetProcess();
  const agents = startAgents(Math.min(Number(values.processes), devices));
  try {
    await Promise.all(agents.map((agent) => once(agent, 'message')));
    const pids = agents.map(({ pid = 0 }) => pid);
    const [idle, fleetBefore] = [pids.map(residentOf), processorMsOf(fleet.pid)];
    const agentsBefore = sum(pids.map(processorMsOf));
    const begun = Date.now();
    const reports = await powerOn(agents, devices, { folder, provisioningUrl: fleet.provisioningUrl });
    const registered = reports.filter((one) => one.type === 'registered');
    const failed = reports.filter((one) => one.type === 'failed');
    return {
      devices,
      registered: registered.length,
      seconds: (Math.max(begun, ...registered.map(({ at }) => at)) - begun) / 1000,
      took: registered.map(({ tookMs }) => tookMs),
      failedAttempts: countsOf(failed.map(({ code }) => code)),
      agentMs: sum(pids.map(processorMsOf)) - agentsBefore,
      fleetMs: processorMsOf(fleet.pid) - fleetBefore,
      agentBytes: sum(pids.map((pid, at) => residentOf(pid).most - (idle[at]?.now ?? 0))),
    };
  } finally {
    for (const agent of agents) agent.kill('SIGKILL');
    await fleet.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function startAgents(count: number): ChildProcess[] {
  const file = fileURLToPath(new URL('../fleet/rehearsal/agents.ts', import.meta.url));
  const options = { execArgv: ['--import', 'tsx'], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] as const };
  return Array.from({ length: count }, () => fork(file, { ...options, stdio: [...options.stdio] }));
}

/** @returns what the devices reported until all were registered, or time is up */
async function powerOn(
  agents: readonly ChildProcess[],
  devices: number,
  { folder, provisioningUrl }: { readonly folder: string; readonly provisioningUrl: string },
): Promise<AgentReport[]> {
  const reports: AgentReport[] = [];
  const retry = { initialMs: 1000, maxMs: 300_000, factor: 2 };
  const share = Math.ceil(devices / agents.length);
  await new Promise<void>((resolve, reject) => {
    const limit = setTimeout(resolve, Number(values.limit) * 1000);
    let registered = 0;
    for (const [at, agent] of agents.entries()) {
      agent.on('message', (report: AgentReport) => {
        reports.push(report);
        if (report.type !== 'registered' || ++registered < devices) return;
        clearTimeout(limit);
        resolve();
      });
      agent.once('exit', (code) => reject(new Error(`a process of agents ended with ${code}`)));
      const first = at * share;
      const own = join(folder, `${first}`);
      mkdirSync(own);
      const count = Math.max(0, Math.min(share, devices - first));
      agent.send({ folder: own, first, count, provisioningUrl, retry, powerOnMs } satisfies Assignment);
    }
  });
  return reports;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((whole, one) => whole + one, 0);
}

function countsOf(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

function rowOf({ devices, registered, seconds, took, ...one }: Scale): string[] {
  const each = (whole: number) => (registered === 0 ? '-' : fixed(whole / registered, 1));
  const at = (share: number) => (took.length === 0 ? '-' : fixed(quantile(took, share) / 1000, 2));
  return [
    `${devices}`,
    `${registered}`,
    fixed(seconds, 1),
    seconds === 0 ? '-' : fixed(registered / seconds, 1),
    at(0.5),
    at(0.99),
    `${sum(Object.values(one.failedAttempts))}`,
    each(one.agentMs),
    each(one.fleetMs),
    each(one.agentBytes / mib),
    `${fixed((100 * (one.agentMs + one.fleetMs)) / (seconds * 1000 * cpus().length || 1))} %`,
  ];
}

function failuresOf(all: readonly Scale[]): string[] {
  return all
    .filter(({ failedAttempts }) => Object.keys(failedAttempts).length > 0)
    .map(({ devices, failedAttempts }) => {
      const counts = Object.entries(failedAttempts).map(([code, count]) => `${code} ${count}`);
      return `- ${devices} devices: ${counts.join(', ')}`;
    });
}

/** What the figures say of where throughput stops to grow, and nothing else. */
function bendOf(all: readonly Scale[]): string[] {
  const rate = ({ registered, seconds }: Scale) => (seconds === 0 ? 0 : registered / seconds);
  const cost = ({ agentMs, fleetMs, registered }: Scale) => (agentMs + fleetMs) / Math.max(1, registered);
  const share = (one: Scale) => fixed((100 * rate(one) * cost(one)) / (1000 * cpus().length));
  const best = all.reduce((one, other) => (rate(other) > rate(one) ? other : one));
  const lines = all.map((one) => {
    const most = fixed((1000 * cpus().length) / cost(one), 1);
    return `- ${one.devices} devices: ${fixed(rate(one), 1)} a second; at ${fixed(cost(one))} ms of processor a device, this machine alone and quiet would end at ${most}. ${share(one)} % of its cores were theirs.`;
  });
  const less = all.filter(({ registered, devices }) => registered < devices);
  return [
    best === all.at(-1)
      ? 'Throughput grew with the number of devices up to the last size.'
      : `Throughput was highest with ${best.devices} devices at once, and falls beyond:`,
    '',
    ...lines,
    ...less.map(({ registered, devices, seconds }) => {
      return `\nOf ${devices} devices ${registered} were registered when ${values.limit} s were over, the last of them after ${fixed(seconds)} s.`;
    }),
  ];
}

function pageOf(all: readonly Scale[]): string {
  const [{ model = 'unknown processor' } = {}] = cpus();
  const head = [
    ...['devices', 'registered', 'seconds', 'a second', 'p50 s', 'p99 s', 'failed attempts'],
    ...['agent CPU ms', 'fleet CPU ms', 'agent MiB', 'processor'],
  ];
  const failures = failuresOf(all);
  return `# Performance: scale

Written by \`npm run bench:scale -- ${process.argv.slice(2).join(' ')}\`; do not edit. Commit ${commitMeasured()}; ${cpus().length} cores (${model.trim()}), load average ${loadavg()[1]?.toFixed(1)} of the last five minutes.

Devices with EC keys power on within a second, against one stand-in fleet: certificate authority, provisioning server and manager in one
process, and a nats-server. For each device runs the real machine with the real services and adapters, a state directory on a real disk
and connections of its own; ${values.processes} processes hold them all. Fleet and devices share this machine's processors.

${table(head, all.map(rowOf))}

CPU and memory are by registered device: of the agents alone, and of the fleet with its nats-server. "processor" is the share of all
cores that both took together, from the first power on to the last registration.
${failures.length > 0 ? `\nFailed attempts, each followed by a wait and another one:\n\n${failures.join('\n')}\n` : ''}
## Where it bends, and why

${bendOf(all).join('\n')}
`;
}
