import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { natsServer } from '../scripts/nats-server.mjs';
import { WorkbenchError } from './dataDirectory.ts';
import { introduction, lineOf } from './introduction.ts';
import { startPage } from './page/server.ts';
import { asWorkbenchError, startWorkbench, type WorkbenchOptions } from './workbench.ts';

declare const BUILD_VERSION: string | undefined;
const version = typeof BUILD_VERSION === 'undefined' ? '0.0.0' : BUILD_VERSION;
/** sysexits.h: what is needed is not there; what was asked for is wrong. */
const exit = { unavailable: 69, usage: 64 };
/** beside the bundle */
const assets = fileURLToPath(new URL('./page', import.meta.url));
const say = (text: string) => process.stdout.write(`${text}\n`);
const complain = (text: string) => process.stderr.write(`${text}\n`);

interface Flags {
  data: string;
  listen: string;
  httpPort: number;
  httpsPort: number;
  natsPort: number;
  pagePort: number;
  mdns: boolean;
  cluster: boolean;
  certificateLife: number;
  quiet: boolean;
}

const command = new Command('onboardd-fleet')
  .description(
    'A workbench fleet: CA, provisioning server, nats-server and fleet manager, for benches and rehearsals. Not for production.',
  )
  .version(version)
  .option('--data <dir>', 'folder of CA, registry and history, which survive a restart', defaultData())
  .option('--listen <address>', '0.0.0.0 for a LAN, or one address of this machine', '127.0.0.1')
  .option('--http-port <port>', 'provisioning over HTTP; 0: a free one', port, 8080)
  .option('--https-port <port>', 'provisioning over HTTPS', port, 8443)
  .option('--nats-port <port>', 'NATS; a cluster takes the next two as well', port, 4222)
  .option('--page-port <port>', 'the live page; 0: a free one', port, 8081)
  .option('--no-mdns', 'do not announce the provisioning server by multicast DNS')
  .option('--cluster', 'three NATS servers, streams of three replicas', false)
  .option('--certificate-life <seconds>', 'how long certificates live', seconds, 365 * 24 * 3600)
  .option('--quiet', 'do not tell of each event', false);

function defaultData(): string {
  const { XDG_DATA_HOME } = process.env;
  return join(XDG_DATA_HOME || join(homedir(), '.local/share'), 'onboardd-fleet');
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
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  const options: WorkbenchOptions = {
    ...{ data: flags.data, listen: flags.listen, mdns: flags.mdns, cluster: flags.cluster },
    ports: { http: flags.httpPort, https: flags.httpsPort, nats: flags.natsPort },
    certificateMs: flags.certificateLife * 1000,
    program: await natsProgram(),
    onProblem: (problem) => complain(`problem: ${problem}`),
  };
  const workbench = await startWorkbench(options);
  try {
    const page = await startPage({ workbench, assets, host: flags.listen, port: flags.pagePort });
    workbench.onStop(page.stop);
    say(introduction(workbench, { version, data: flags.data, page: page.url }));
    if (!flags.quiet) workbench.ledger.onEvent((event) => say(lineOf(event)));
    await stopped;
  } finally {
    await workbench.stop();
  }
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
} catch (thrown) {
  const error = asWorkbenchError(thrown);
  if (!(error instanceof WorkbenchError)) throw error;
  complain(`onboardd-fleet: ${error.message}`);
  process.exitCode = error instanceof Unavailable ? exit.unavailable : exit.usage;
}
