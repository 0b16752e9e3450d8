import { type ChildProcess, fork } from 'node:child_process';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { leaderOf } from '../cluster.ts';
import { WorkbenchError } from '../dataDirectory.ts';
import type { FleetEvent } from '../device.ts';
import type { Fault } from '../faultCatalogue.ts';
import { actionsStream } from '../streams.ts';
import type { Workbench } from '../workbench.ts';
import type { AgentReport, Assignment } from './agents.ts';

const ownUrl = import.meta.url;
/** Beside this file, or beside the bundle. */
const agentsFile = fileURLToPath(new URL(ownUrl.endsWith('.ts') ? './agents.ts' : './agents.mjs', ownUrl));
const processes = 2;
/** Shorter than a device's own, so that a scene is over soon. */
const retry = { initialMs: 500, maxMs: 10_000, factor: 2 };

export const scenes = {
  storm: 'all devices power on within a second, while provisioning answers 503 for 20 s',
  outage:
    'devices power on within 30 s, while first provisioning, then NATS, then the fleet manager fails for 10 s',
  renewal: 'certificates live for a minute, and each device renews its own once',
  clone: 'one device registers, and its disk is copied to all others',
  node: 'devices power on within 5 s, while one of three NATS servers is killed; it needs a cluster',
} as const;

export type SceneName = keyof typeof scenes;

export interface SceneOptions {
  name: SceneName;
  devices: number;
  /** Folder of the scene's logs; made here */
  folder: string;
  say: (line: string) => void;
}

/** What a scene showed. `problems` is empty where all went as it should. */
export interface Outcome {
  summary: string[];
  problems: string[];
}

interface Stage {
  workbench: Workbench;
  options: SceneOptions;
  reports: AgentReport[];
  /** Powers on devices; those of one number share a disk. */
  /** Resolves once their processes are loaded, which takes a while on a busy machine. */
  powerOn(first: number, count: number, powerOnMs: number): Promise<void>;
  /** Resolves once this holds; it is asked after each report. @throws {Error} where the devices' processes end */
  until(holds: () => boolean): Promise<void>;
  fault(fault: Fault, seconds: number): Promise<void>;
  events: FleetEvent[];
}

/**
 * Plays a scene with simulated devices against a workbench: the real agent code, many devices to a process.
 *
 * @throws {WorkbenchError} for a scene that this workbench cannot play
 */
export async function play(workbench: Workbench, options: SceneOptions): Promise<Outcome> {
  if (options.name === 'node' && workbench.natsServers.length === 1)
    throw new WorkbenchError('the scene "node" needs --cluster');
  const disks = join(options.folder, 'disks');
  mkdirSync(disks, { recursive: true });
  const workers = new Set<ChildProcess>();
  const { stage, end } = setStage(workbench, options, disks, workers);
  const begun = Date.now();
  try {
    await acts[options.name](stage, disks);
    return outcomeOf(stage, (Date.now() - begun) / 1000);
  } finally {
    end();
    for (const worker of workers) worker.kill('SIGKILL');
    rmSync(disks, { recursive: true, force: true, maxRetries: 3 });
  }
}

function setStage(workbench: Workbench, options: SceneOptions, disks: string, workers: Set<ChildProcess>) {
  const reports: AgentReport[] = [];
  const events: FleetEvent[] = [];
  const watchers = new Set<() => void>();
  let breakDown: (error: Error) => void = () => undefined;
  const broken = new Promise<never>((_, reject) => {
    breakDown = reject;
  });
  broken.catch(() => undefined);
  const look = () => {
    for (const watcher of watchers) watcher();
  };
  const end = workbench.ledger.onEvent((event) => {
    events.push(event);
    look();
  });
  const forkFor = async (assignment: Assignment) => {
    const worker = fork(agentsFile, {
      execArgv: agentsFile.endsWith('.ts') ? ['--import', 'tsx'] : [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    workers.add(worker);
    worker.on('message', (report: AgentReport) => {
      reports.push(report);
      look();
    });
    worker.once('exit', (code) => breakDown(new Error(`a process of devices ended with ${code}`)));
    await Promise.race([broken, new Promise((resolve) => worker.once('message', resolve))]);
    worker.send(assignment);
  };
  const stage: Stage = {
    ...{ workbench, options, reports, events },
    async powerOn(first, count, powerOnMs) {
      const share = Math.ceil(count / processes);
      const all: Promise<void>[] = [];
      for (let from = first; from < first + count; from += share) {
        const assigned = forkFor({
          ...{ folder: disks, first: from, count: Math.min(share, first + count - from), retry, powerOnMs },
          provisioningUrl: workbench.provisioning.httpUrl,
          logFile: join(options.folder, `agents-${from}.log`),
          staysOn: true,
        });
        all.push(assigned);
      }
      await Promise.all(all);
    },
    until: (holds) => Promise.race([broken, once(watchers, holds)]),
    async fault(fault, seconds) {
      options.say(`${fault} for ${seconds} s`);
      await switchFault(workbench, fault, true);
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      await switchFault(workbench, fault, false);
      options.say(`${fault} is over`);
    },
  };
  return { stage, end };
}

function once(watchers: Set<() => void>, holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const watcher = () => {
      if (!holds()) return;
      watchers.delete(watcher);
      resolve();
    };
    watchers.add(watcher);
    watcher();
  });
}

async function switchFault({ faults, ledger }: Workbench, fault: Fault, on: boolean): Promise<void> {
  if (faults.set(fault, on))
    await ledger.add({ at: Date.now(), event: on ? 'fault.on' : 'fault.off', fault });
}

const countOf = ({ reports }: Stage, type: AgentReport['type']) =>
  reports.filter((report) => report.type === type).length;

function allRegistered(stage: Stage): Promise<void> {
  return stage.until(() => countOf(stage, 'registered') >= stage.options.devices);
}

const acts: Record<SceneName, (stage: Stage, disks: string) => Promise<void>> = {
  async storm(stage) {
    await switchFault(stage.workbench, 'provisioning-503', true);
    await stage.powerOn(0, stage.options.devices, 1_000);
    await stage.fault('provisioning-503', 20);
    await allRegistered(stage);
  },
  async outage(stage) {
    await stage.powerOn(0, stage.options.devices, 30_000);
    for (const fault of ['provisioning-503', 'stall-nats', 'ignore-registrations'] as const)
      await stage.fault(fault, 10);
    await allRegistered(stage);
  },
  async renewal(stage) {
    const { devices } = stage.options;
    await stage.powerOn(0, devices, 5_000);
    await allRegistered(stage);
    stage.options.say(`${devices} devices are registered; their certificates run out within a minute`);
    const renewed = () =>
      new Set(stage.reports.flatMap((one) => (one.type === 'renewed' ? [one.deviceId] : []))).size;
    await stage.until(() => renewed() >= devices);
  },
  async clone(stage, disks) {
    const { devices, say } = stage.options;
    await stage.powerOn(0, 1, 0);
    await stage.until(() => countOf(stage, 'registered') === 1);
    for (let number = 1; number < devices; number++)
      cpSync(join(disks, '0'), join(disks, `${number}`), { recursive: true });
    say(`one device is registered; its disk is copied to ${devices - 1} others`);
    await stage.powerOn(1, devices - 1, 1_000);
    const cloned = () =>
      stage.reports.filter((report) => report.type === 'failed' && report.code === 'STATE_CLONED').length;
    await stage.until(() => cloned() >= devices - 1);
  },
  async node(stage) {
    const { workbench, options } = stage;
    await stage.powerOn(0, options.devices, 5_000);
    const [some, most] = [options.devices / 10, (options.devices * 9) / 10];
    await stage.until(() => countOf(stage, 'registered') >= some);
    // The worst one: what nobody has acknowledged yet lies with it.
    const leader = await leaderOf(actionsStream, workbench.natsServers);
    await leader.kill('SIGKILL');
    const registered = countOf(stage, 'registered');
    options.say(
      `nats-server ${leader.pid}, leader of ${actionsStream}, is killed; ${registered} are registered`,
    );
    if (registered > most) options.say('that was late: with more devices it comes amid their storm');
    await allRegistered(stage);
    await leader.restart();
    options.say('it is started again');
  },
};

function outcomeOf({ workbench, options, reports, events }: Stage, seconds: number): Outcome {
  const { name, devices } = options;
  const of = (wanted: FleetEvent['event']) => events.filter(({ event }) => event === wanted);
  const accepted = of('registration.accepted');
  const ids = new Set(accepted.flatMap((event) => ('id' in event ? [event.id] : [])));
  const expected = name === 'clone' ? 1 : devices;
  const problems: string[] = [];
  if (ids.size !== expected) problems.push(`${ids.size} devices were registered instead of ${expected}`);
  if (accepted.length !== ids.size) problems.push(`${accepted.length - ids.size} registrations too many`);
  const seen = [...workbench.ledger.devices.values()].filter(({ id }) => ids.has(id));
  const manyKeys = seen.filter(({ keys }) => keys > 1).length;
  if (manyKeys > 0) problems.push(`${manyKeys} devices asked with a second key`);
  const failed = reports.filter(({ type }) => type === 'failed').length;
  const issued = of('certificate.issued');
  return {
    problems,
    summary: [
      `${name}: ${scenes[name]}`,
      `${accepted.length} registrations of ${ids.size} devices in ${seconds.toFixed(0)} s, at most ${peakOf(accepted)} in one second`,
      `${issued.length} certificates, at most ${peakOf(issued)} in one second; ${of('request.refused').length} requests refused`,
      `${failed} failed attempts on ${devices} devices`,
    ],
  };
}

/** Events in the busiest second */
function peakOf(events: readonly FleetEvent[]): number {
  const counts = new Map<number, number>();
  for (const { at } of events)
    counts.set(Math.floor(at / 1000), (counts.get(Math.floor(at / 1000)) ?? 0) + 1);
  return Math.max(0, ...counts.values());
}
