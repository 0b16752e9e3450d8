/**
 * What one workbench can take, and what each registration costs each of its parts: certificates alone, then whole
 * registrations, one step of devices after the other, since the parts get slower with the number that they know.
 *
 *   npm run bench:fleet                     4 steps of 500 devices, one NATS server; then the same on a cluster of three
 *     -- --devices N                        devices a step
 *     -- --steps N
 *     -- --subjects N                       results of so many devices in one stream, 200,000 by default
 *     -- --write                            into docs/fleet-at-scale.md
 *
 * Devices are played by one process as little as can be (a CSR made beforehand, HTTP, TLS, three NATS messages), so that the
 * processors are the fleet's. Their share is told apart.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash, generateKeyPairSync, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { connect, headers, type Msg, type NatsConnection } from 'nats';
import { createAuthority } from '../fleet/ca.ts';
import { startNats } from '../fleet/nats.ts';
import { createStreams, resultsStream } from '../fleet/streams.ts';
import { root } from '../packaging/tools.mjs';
import { natsServer } from '../scripts/nats-server.mjs';
import { certificateRequest } from '../src/adapters/pki.ts';
import { commitMeasured } from '../test/support/commit.ts';
import { childrenOf, processorMsOf, residentOf } from './processor.ts';
import { quantile } from './statistics.ts';
import { fixed, table } from './table.ts';

const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '500' },
    steps: { type: 'string', default: '4' },
    subjects: { type: 'string', default: '200000' },
    write: { type: 'boolean', default: false },
  },
});
const natsProgram = await natsServer();
const devices = Number(values.devices);
const steps = Number(values.steps);
/** Devices that are busy at once */
const atOnce = 32;
/** As from different machines: a connection for each */
const agent = new Agent({ keepAlive: false });
const page = join(root, 'docs/fleet-at-scale.md');

interface Device {
  readonly id: string;
  readonly key: string;
  readonly csr: string;
  answer?: { certificate: string; caCertificate: string; fleetManagementNatsUrl: string };
}

interface Fleet {
  readonly url: string;
  readonly pid: number;
  readonly data: string;
  stop(): Promise<void>;
}

/** What a phase cost, milliseconds of the processor a device. */
interface Cost {
  readonly seconds: number;
  readonly ms: readonly number[];
  readonly services: number;
  readonly nats: number;
  readonly clients: number;
}

interface Step {
  readonly known: number;
  readonly provisioning: Cost;
  readonly registration: Cost;
}

interface Outcome {
  readonly servers: number;
  readonly steps: readonly Step[];
  /** bytes on disk a device: JetStream's store of one server, and the history */
  readonly storeBytes: number;
  readonly historyBytes: number;
  readonly configBytes: number;
  readonly servicesBytes: number;
  readonly natsBytes: number;
}

assert(spawnSync(process.execPath, ['scripts/buildFleet.mjs'], { cwd: root, stdio: 'inherit' }).status === 0);
const before = loadavg()[0] ?? 0;
const outcomes: Outcome[] = [];
for (const servers of [1, 3]) outcomes.push(await measure(servers));
const text = [sectionOf(outcomes), '', await manySubjects(Number(values.subjects))].join('\n');
console.log(text);
if (values.write) {
  const whole = readFileSync(page, 'utf8');
  const [begin, end] = ['<!-- measured -->', '<!-- /measured -->'];
  const [from, to] = [whole.indexOf(begin) + begin.length, whole.indexOf(end)];
  writeFileSync(page, `${whole.slice(0, from)}\n\n${text}\n\n${whole.slice(to)}`);
}
process.exit(0);

function assert(holds: boolean): asserts holds {
  if (!holds) throw new Error('the fleet cannot be built');
}

async function measure(servers: number): Promise<Outcome> {
  const fleet = await startFleet(servers);
  try {
    const done: Step[] = [];
    for (let step = 1; step <= steps; step++) {
      const all = await Promise.all(Array.from({ length: devices }, newDevice));
      const provisioning = await cost(fleet, all, (device) => provision(fleet.url, device));
      const registration = await cost(fleet, all, register);
      done.push({ known: step * devices, provisioning, registration });
      console.error(`${servers} NATS servers, ${step * devices} devices: done`);
    }
    const count = steps * devices;
    const natsDir = join(fleet.data, servers === 1 ? 'nats' : 'nats-cluster/1');
    const nats = childrenOf(fleet.pid);
    return {
      ...{ servers, steps: done },
      storeBytes: sizeOf(join(natsDir, 'jetstream')) / count,
      historyBytes: statSync(join(fleet.data, 'history.jsonl')).size / count,
      configBytes: statSync(join(natsDir, 'nats.conf')).size / count,
      servicesBytes: residentOf(fleet.pid).most,
      natsBytes: Math.max(...nats.map((pid) => residentOf(pid).most)),
    };
  } finally {
    await fleet.stop();
  }
}

/** The workbench as its program, quiet, and on free ports. */
async function startFleet(servers: number): Promise<Fleet> {
  const data = mkdtempSync(join(tmpdir(), 'fleet-bench-'));
  const ports = ['--http-port', '--https-port', '--nats-port', '--page-port'].flatMap((name) => [name, '0']);
  const args = ['--data', data, '--quiet', '--no-mdns', ...ports, ...(servers === 1 ? [] : ['--cluster'])];
  const child: ChildProcess = spawn(process.execPath, ['dist/fleet/onboardd-fleet.mjs', ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NATS_SERVER: natsProgram },
  });
  const ended = once(child, 'exit');
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const [, found] = /ONBOARDD_PROVISIONING_URL=(http:\S+)/.exec(line) ?? [];
      if (found !== undefined) resolve(found);
    });
    ended.then(() => reject(new Error('the fleet ended')));
  });
  return {
    ...{ url, data, pid: child.pid ?? 0 },
    async stop() {
      child.kill('SIGTERM');
      await ended;
      rmSync(data, { recursive: true, force: true });
    },
  };
}

async function newDevice(): Promise<Device> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const id = createHash('sha256').update(randomUUID()).digest('hex').slice(0, 32);
  return { id, key, csr: await certificateRequest(key, `/Finland~Solita/fleet/${id}/registration_agent`) };
}

/** Runs a phase for all devices, so many at once. */
async function cost(
  { pid }: Fleet,
  all: readonly Device[],
  work: (device: Device) => Promise<void>,
): Promise<Cost> {
  const natsPids = childrenOf(pid);
  const used = () => {
    const nats = natsPids.reduce((sum, one) => sum + processorMsOf(one), 0);
    const { user, system } = process.cpuUsage();
    return { nats, services: processorMsOf(pid) - nats, clients: (user + system) / 1000 };
  };
  const ms: number[] = [];
  const [start, begun, waiting] = [used(), performance.now(), [...all]];
  const worker = async () => {
    for (let device = waiting.pop(); device !== undefined; device = waiting.pop()) {
      const at = performance.now();
      await work(device);
      ms.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  const [seconds, end] = [(performance.now() - begun) / 1000, used()];
  const each = (name: keyof typeof start) => (end[name] - start[name]) / all.length;
  return { seconds, ms, services: each('services'), nats: each('nats'), clients: each('clients') };
}

function provision(url: string, device: Device): Promise<void> {
  return new Promise((resolve, reject) => {
    const asked = request(`${url}/api/devices/provision`, {
      agent,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    asked.once('error', reject);
    asked.once('response', async (response) => {
      const body = Buffer.concat(await response.toArray()).toString();
      if (response.statusCode !== 200) return reject(new Error(body));
      device.answer = JSON.parse(body);
      resolve();
    });
    asked.end(JSON.stringify({ csr: device.csr }));
  });
}

/** Connects, asks, waits for the result, and leaves. */
async function register({ id, key, answer }: Device): Promise<void> {
  if (answer === undefined) throw new Error('it has no certificate');
  const { certificate: cert, caCertificate: ca, fleetManagementNatsUrl } = answer;
  const connection = await connect({
    servers: fleetManagementNatsUrl.split(','),
    tls: { cert, key, ca },
    inboxPrefix: `_INBOX_${id}`,
    timeout: 60_000,
  });
  const results = connection.subscribe(`device_results.${id}.register`, { max: 1 });
  const named = headers();
  named.set('ID', id);
  named.set('timestamp', new Date().toISOString().replace(/\.\d+Z$/, 'Z'));
  const body = { id, deviceType: 'simulated', architecture: 'amd64', certificate: cert, caCertificate: ca };
  await connection.jetstream().publish(`device_actions.${id}.register`, JSON.stringify(body), {
    headers: named,
    msgID: id,
    timeout: 60_000,
  });
  const heard = (async () => {
    for await (const message of results) return message;
    return undefined;
  })();
  // In a cluster the result may be published before its server knows of the subscription: then it is in the stream.
  let message: Msg | undefined;
  while (message === undefined) message = await Promise.race([heard, stored(connection, id)]);
  const { status, error } = message.json<{ status: string; error?: string }>();
  if (status !== 'success') throw new Error(error);
  await connection.close();
}

/** The result by direct get, after a second; undefined where there is none yet. */
async function stored(connection: NatsConnection, id: string): Promise<Msg | undefined> {
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  if (connection.isClosed()) return undefined;
  const subject = `$JS.API.DIRECT.GET.DEVICE_RESULTS.device_results.${id}.register`;
  const answer = await connection.request(subject, '', { timeout: 5_000 }).catch(() => undefined);
  return answer?.headers?.code === 404 ? undefined : answer;
}

/** What the results of so many devices take in one stream, whose server keeps an index of their subjects in memory. */
async function manySubjects(count: number): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'subjects-'));
  const nats = await startNats({ authority: await createAuthority(), dir, tls: false, program: natsProgram });
  try {
    const connection = await connect({ servers: nats.url });
    await createStreams(connection, {});
    const { streams } = await connection.jetstreamManager();
    const before = residentOf(nats.pid).now;
    const result = JSON.stringify({
      status: 'success',
      payload: { alias: 'x'.repeat(37) },
      token: 'aGVsbG8K',
    });
    const [begun, used] = [performance.now(), processorMsOf(nats.pid)];
    const pending: Promise<unknown>[] = [];
    for (let number = 0; number < count; number++) {
      const id = createHash('sha256').update(`${number}`).digest('hex').slice(0, 32);
      pending.push(
        connection.jetstream().publish(`device_results.${id}.register`, result, { timeout: 60_000 }),
      );
      if (pending.length === 1_000) await Promise.all(pending.splice(0));
    }
    await Promise.all(pending);
    const seconds = (performance.now() - begun) / 1000;
    const { state } = await streams.info(resultsStream);
    const [disk, memory] = [sizeOf(join(dir, 'jetstream')), residentOf(nats.pid).now - before];
    await connection.close();
    const each = (bytes: number) => fixed(bytes / state.messages);
    return `${state.messages} results of as many devices in one stream: ${each(disk)} bytes of disk and ${each(memory)} of nats-server's memory for each; ${fixed(count / seconds)} a second, ${fixed((1000 * (processorMsOf(nats.pid) - used)) / count)} µs of its processor for each.`;
  } finally {
    await nats.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

function sizeOf(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => statSync(join(folder, name)))
    .filter((found) => found.isFile())
    .reduce((sum, { blocks }) => sum + 512 * blocks, 0);
}

function sectionOf(all: readonly Outcome[]): string {
  const [{ model = 'unknown processor' } = {}] = cpus();
  const nats = execFileSync(natsProgram, ['--version'], { encoding: 'utf8' });
  const command = ['npm run bench:fleet', ...process.argv.slice(2)].join(' ').replace('fleet ', 'fleet -- ');
  return [
    `Written by \`${command}\`. Commit ${commitMeasured()}; ${cpus().length} cores (${model.trim()}), Node ${process.versions.node}, ${nats.trim()};`,
    `load average ${fixed(before, 1)} before, ${fixed(loadavg()[0] ?? 0, 1)} after. ${atOnce} devices at once; CPU is milliseconds of the processor a device, p50 and p99 of one`,
    'device are milliseconds of the clock. All parts, and what plays the devices, share the processors.',
    ...all.flatMap((outcome) => ['', ...outcomeLines(outcome)]),
  ].join('\n');
}

function outcomeLines(outcome: Outcome): string[] {
  const what = outcome.servers === 1 ? 'One NATS server' : 'Three NATS servers, three replicas';
  const row = (phase: string, known: number, { seconds, ms, services, nats, clients }: Cost) => [
    ...[phase, `${known}`, fixed(devices / seconds, 1), fixed(quantile(ms, 0.5)), fixed(quantile(ms, 0.99))],
    ...[fixed(services, 1), fixed(nats, 1), fixed(clients, 1)],
  ];
  const kib = (bytes: number) => `${fixed(bytes / 1024, 1)} KiB`;
  const mib = (bytes: number) => `${fixed(bytes / 2 ** 20)} MiB`;
  return [
    `${what}:`,
    '',
    table(
      ['phase', 'devices known', 'a second', 'p50', 'p99', 'services CPU', 'NATS CPU', 'devices CPU'],
      outcome.steps.flatMap(({ known, provisioning, registration }) => [
        row('certificate', known, provisioning),
        row('registration', known, registration),
      ]),
    ),
    '',
    `A device takes ${kib(outcome.storeBytes)} in the JetStream store of one server, ${kib(outcome.historyBytes)} in the history, and ${kib(outcome.configBytes)} in nats.conf.`,
    `Largest resident set: ${mib(outcome.servicesBytes)} of the services, ${mib(outcome.natsBytes)} of a NATS server.`,
  ];
}
