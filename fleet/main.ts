import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError, Option } from 'commander';
import { natsServer } from '../scripts/nats-server.mjs';
import { WorkbenchError } from './dataDirectory.ts';
import { introduction, lineOf } from './introduction.ts';
import { startPage } from './page/server.ts';
import { play, type SceneName, scenes } from './rehearsal/scenes.ts';
import { asWorkbenchError, startWorkbench, type Workbench, type WorkbenchOptions } from './workbench.ts';

declare const BUILD_VERSION: string | undefined;
const version = typeof BUILD_VERSION === 'undefined' ? '0.0.0' : BUILD_VERSION;
/** sysexits.h: what is needed is not there; what was asked for is wrong. */
const exit = { unavailable: 69, usage: 64 };
/** beside the bundle */
const assets = fileURLToPath(new URL('./page', import.meta.url));
const yearSeconds = 365 * 24 * 3600;
// A terminal or reader that is gone ends nothing: a closed terminal says so by SIGHUP.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
const say = (text: string) => process.stdout.write(`${text}\n`);
const complain = (text: string) => process.stderr.write(`${text}\n`);

interface Flags {
  data?: string;
  listen: string;
  httpPort: number;
  httpsPort: number;
  natsPort: number;
  pagePort: number;
  mdns: boolean;
  cluster: boolean;
  certificateLife?: number;
  devices: number;
  script?: SceneName;
  stay: boolean;
  quiet: boolean;
}

const command = new Command('onboardd-fleet')
  .description(
    'A workbench fleet: CA, provisioning server, nats-server and fleet manager, for benches and rehearsals. Not for production.',
  )
  .version(version)
  .option(
    '--data <dir>',
    `folder of CA, registry and history, which survive a restart (${defaultData(false)})`,
  )
  .option('--listen <address>', '0.0.0.0 for a LAN, or one address of this machine', '127.0.0.1')
  .option('--http-port <port>', 'provisioning over HTTP; 0: a free one', port, 8080)
  .option('--https-port <port>', 'provisioning over HTTPS', port, 8443)
  .option('--nats-port <port>', 'NATS; a cluster takes the next two as well', port, 4222)
  .option('--page-port <port>', 'the live page; 0: a free one', port, 8081)
  .option('--no-mdns', 'do not announce the provisioning server by multicast DNS')
  .option('--cluster', 'three NATS servers, streams of three replicas', false)
  .option('--certificate-life <seconds>', 'how long certificates live', seconds)
  .addOption(
    new Option('--script <scene>', `rehearsal with simulated devices: ${sceneList()}`).choices(
      Object.keys(scenes),
    ),
  )
  .option('--devices <number>', 'how many devices a rehearsal simulates', number, 20)
  .option('--stay', 'go on after a rehearsal', false)
  .option('--quiet', 'do not tell of each event', false);

/** Rehearsals have a folder of their own: what is simulated is not mixed with real devices. */
function defaultData(isRehearsal: boolean): string {
  const { XDG_DATA_HOME } = process.env;
  return join(
    XDG_DATA_HOME || join(homedir(), '.local/share'),
    isRehearsal ? 'onboardd-fleet-rehearsal' : 'onboardd-fleet',
  );
}

function sceneList(): string {
  return Object.keys(scenes).join(', ');
}

function number(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 2 || value > 5_000) throw new InvalidArgumentError('2 to 5000');
  return value;
}

function port(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 65_535) throw new InvalidArgumentError('a port is a number up to 65535');
  return value;
}

function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 10 || value > 10 * 365 * 24 * 3600)
    throw new InvalidArgumentError('a whole number of seconds, at least 10, at most ten years');
  return value;
}

async function main(flags: Flags): Promise<void> {
  const data = flags.data ?? defaultData(flags.script !== undefined);
  const options: WorkbenchOptions = {
    ...{ data, listen: flags.listen, mdns: flags.mdns },
    cluster: flags.cluster || flags.script === 'node',
    ports: { http: flags.httpPort, https: flags.httpsPort, nats: flags.natsPort },
    certificateMs: (flags.certificateLife ?? (flags.script === 'renewal' ? 60 : yearSeconds)) * 1000,
    program: await natsProgram(),
    onProblem: (problem) => complain(`problem: ${problem}`),
  };
  const stopped = new Promise<void>((resolve) => {
    // Not once: Ctrl-C may come twice, from the terminal and from the program that started this one. While somebody
    // listens, the signal does not end what is to be stopped in order.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve());
  });
  const workbench = await startWorkbench(options);
  try {
    const page = await startPage({ workbench, assets, host: flags.listen, port: flags.pagePort });
    workbench.onStop(page.stop);
    say(introduction(workbench, { version, data, page: page.url }));
    if (!flags.quiet) workbench.ledger.onEvent((event) => say(lineOf(event)));
    if (flags.script !== undefined)
      await Promise.race([rehearse(workbench, flags, flags.script, data), stopped]);
    if (flags.script === undefined || flags.stay) await stopped;
  } finally {
    await workbench.stop();
  }
}

async function rehearse(workbench: Workbench, flags: Flags, name: SceneName, data: string): Promise<void> {
  const folder = join(resolve(data), 'rehearsals', new Date().toISOString().replaceAll(':', ''));
  const { summary, problems } = await play(workbench, { name, devices: flags.devices, folder, say });
  for (const line of ['', ...summary, ...problems.map((problem) => `PROBLEM: ${problem}`)]) say(line);
  say(`the devices' logs: onboardd report ${join(folder, 'agents-*.log')}`);
  if (problems.length > 0) process.exitCode = 1;
}

/** @throws {WorkbenchError} which says how to get it, where there is none and none can be fetched */
async function natsProgram(): Promise<string> {
  try {
    return await natsServer({ log: complain, into: join(homedir(), '.cache/onboardd-fleet') });
  } catch (error) {
    throw new Unavailable(error instanceof Error ? error.message : String(error));
  }
}

class Unavailable extends WorkbenchError {}

try {
  await command.parseAsync();
  await main(command.opts<Flags>());
  // A rehearsal that was stopped has devices that still run; they end with this process.
  process.exit();
} catch (thrown) {
  const error = asWorkbenchError(thrown);
  if (!(error instanceof WorkbenchError)) throw error;
  complain(`onboardd-fleet: ${error.message}`);
  process.exitCode = error instanceof Unavailable ? exit.unavailable : exit.usage;
}
