import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startFleet } from '../../../fleet/fleet.ts';
import type { AgentReport, Assignment } from '../../../fleet/rehearsal/agents.ts';
import { startRelay } from '../../fleet/relay.ts';
import { histogram, linePlot } from '../../support/plot.ts';
import { writeSection } from '../../support/reliabilityPage.ts';

/**
 * The storm: a thousand devices power on together, the provisioning server cannot be reached, then it comes back. Real
 * agents (fleet/rehearsal/agents.ts), many to a process, against the real stand-in fleet. What must hold: every device registers,
 * is accepted once and is certified once, and the server's busiest second stays within a small multiple of the mean.
 *
 * `npm run test:load [-- --devices N] [-- --processes N] [-- --down SECONDS] [-- --initial MS] [-- --max MS] [-- --ratio PEAK/MEAN] [-- --write]`
 */
const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '1000' },
    processes: { type: 'string', default: '4' },
    down: { type: 'string', default: '30' },
    initial: { type: 'string', default: '1000' },
    max: { type: 'string', default: '300000' },
    ratio: { type: 'string', default: '10' },
    write: { type: 'boolean', default: false },
  },
});
const devices = Number(values.devices);
const processes = Number(values.processes);
const downMs = Number(values.down) * 1000;
const retry = { initialMs: Number(values.initial), maxMs: Number(values.max), factor: 2 };
const powerOnMs = 1000;
/** Peak over mean that a fleet may meet after it came back. Without jitter all would come in one second. */
const mostPeakOverMean = Number(values.ratio);

const folder = mkdtempSync(join(tmpdir(), 'storm-'));
const fleet = await startFleet();
const gate = await startRelay({
  to: { host: '127.0.0.1', port: Number(new URL(fleet.provisioningUrl).port) },
});
const reports: AgentReport[] = [];
const workers: ChildProcess[] = [];
const problems: string[] = [];
try {
  await gate.cut();
  const begun = Date.now();
  const over = everybodyRegistered();
  powerOn();
  await new Promise((resolve) => setTimeout(resolve, downMs));
  await gate.mend();
  const back = Date.now();
  await over;
  judge(begun, back, Date.now());
} finally {
  for (const worker of workers) worker.kill('SIGKILL');
  await gate.stop();
  await fleet.stop();
  rmSync(folder, { recursive: true, force: true });
}
for (const problem of problems) console.log(`  ${problem}`);
process.exit(problems.length > 0 ? 1 : 0);

function powerOn(): void {
  const file = fileURLToPath(new URL('../../../fleet/rehearsal/agents.ts', import.meta.url));
  const share = Math.ceil(devices / processes);
  for (let first = 0; first < devices; first += share) {
    const worker = fork(file, {
      execArgv: ['--import', 'tsx'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    workers.push(worker);
    const count = Math.min(share, devices - first);
    const own = join(folder, `${first}`);
    mkdirSync(own);
    const provisioningUrl = `http://127.0.0.1:${gate.port}`;
    worker.send({ folder: own, first, count, provisioningUrl, retry, powerOnMs } satisfies Assignment);
  }
}

function everybodyRegistered(): Promise<void> {
  return new Promise((resolve, reject) => {
    let registered = 0;
    const onMessage = (message: AgentReport) => {
      reports.push(message);
      if (message.type === 'registered' && ++registered === devices) resolve();
    };
    // Workers are forked right after; each tells through the same ear.
    setImmediate(() => {
      for (const worker of workers) {
        worker.on('message', onMessage);
        worker.once('exit', (code) => reject(new Error(`a process of agents ended with ${code}`)));
      }
    });
  });
}

function judge(begun: number, back: number, end: number): void {
  const { requests } = fleet.provisioning;
  const ids = new Set(requests.map(({ id }) => id));
  const accepted = [...fleet.manager.accepted.values()];
  const deviceIds = new Set(reports.flatMap((one) => (one.type === 'registered' ? one.deviceId : [])));
  if (deviceIds.size !== devices) problems.push(`${deviceIds.size} identities for ${devices} devices`);
  if (accepted.length !== devices || accepted.some(({ count }) => count !== 1))
    problems.push(`${accepted.length} devices were accepted, or some twice`);
  if (ids.size !== devices || requests.length !== devices)
    problems.push(`${requests.length} certificates were asked for, by ${ids.size} devices`);
  const after = requests.map(({ at }) => (at - back) / 1000);
  const lasted = Math.max(...after, 1);
  const mean = requests.length / lasted;
  // The last few, whose wait happened to be long, stretch the time: most come sooner, and closer.
  const most = after.toSorted((a, b) => a - b).slice(0, Math.ceil(after.length * 0.95));
  const mostLasted = Math.max(most.at(-1) ?? 0, 1);
  const mostMean = most.length / mostLasted;
  const peak = Math.max(...histogram(after, 0, 1).map(([, count]) => count));
  if (peak / mean > mostPeakOverMean) problems.push(`the peak is ${(peak / mean).toFixed(1)} times the mean`);
  const failed = reports.filter(({ type }) => type === 'failed');
  const share = Math.ceil(devices / processes);
  const lines = [
    `- ${devices} devices, ${share} to a process, power on within ${powerOnMs / 1000} s; provisioning refuses connections for ${downMs / 1000} s.`,
    `- ${failed.length} failed attempts meanwhile, ${(failed.length / devices).toFixed(1)} a device.`,
    `- Once it was back: ${requests.length} requests in ${lasted.toFixed(0)} s, on average ${mean.toFixed(1)} a second, at most ${peak} in one second: ${(peak / mean).toFixed(1)} times the mean.`,
    `- 95 % of them came within ${mostLasted.toFixed(0)} s, on average ${mostMean.toFixed(1)} a second; the peak is ${(peak / mostMean).toFixed(1)} times that.`,
    `- ${accepted.length} devices accepted, each once; ${((end - begun) / 1000).toFixed(0)} s in all.`,
  ];
  for (const line of lines) console.log(line);
  if (!values.write || problems.length > 0) return;
  plot(begun, back, mean);
  writeSection('load', 'test:load', [...lines, '', '![requests a second](plots/storm-real.svg)']);
}

function plot(begun: number, back: number, mean: number): void {
  const seconds = (at: number) => (at - begun) / 1000;
  const of = (type: AgentReport['type']) =>
    reports.flatMap((one) => (one.type === type && one.type !== 'ready' ? [seconds(one.at)] : []));
  const registered = of('registered').sort((a, b) => a - b);
  const svg = linePlot({
    title: `${devices} real agents power on, the fleet is down for ${downMs / 1000} s`,
    subtitle: `npm run test:load, ${new Date().toISOString().slice(0, 10)}, steps of one second`,
    xLabel: 'seconds since power on',
    yLabel: 'a second',
    series: [
      { name: 'attempts refused', style: 'bars', points: histogram(of('failed'), 0, 1) },
      {
        name: 'requests served',
        style: 'bars',
        points: histogram(
          fleet.provisioning.requests.map(({ at }) => seconds(at)),
          0,
          1,
        ),
      },
      { name: 'devices registered', points: histogram(registered, 0, 1) },
    ],
    marks: [{ name: `mean once it was back, ${mean.toFixed(1)} a second`, y: mean }],
  });
  console.log(`back after ${seconds(back).toFixed(0)} s`);
  writeFileSync(fileURLToPath(new URL('../../../docs/plots/storm-real.svg', import.meta.url)), svg);
}
