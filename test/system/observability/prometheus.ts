import { execFileSync, spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { startFleet } from '../../../fleet/fleet.ts';
import { check } from '../../support/assertEqual.ts';
import { dashboardQueries } from '../../support/monitoringQueries.ts';
import { type Device, newDevice, type Running, removeDevices, start } from '../../support/program.ts';

const docs = new URL('../../../docs/monitoring/', import.meta.url).pathname;
const patienceMs = 60_000;

/** A device whose metrics lie in its own runtime folder, as in the unit. */
interface Metered {
  readonly name: string;
  readonly device: Device;
  readonly textfile: string;
  readonly running: Running;
}

export interface Scraped {
  /** Metric files of real daemons by their device's name */
  readonly files: Readonly<Record<string, string>>;
  readonly summary: string;
}

/**
 * Debian's Prometheus scrapes Debian's node_exporter, whose textfile collector reads what running daemons write: one
 * registered, one that its provisioning server refuses, one that finds no server; then the first is stopped.
 *
 * @throws {Error} with the query that does not become what it should
 */
export async function tryPrometheus(folder: string): Promise<Scraped> {
  const own = join(folder, 'prometheus');
  mkdirSync(own, { recursive: true });
  const fleet = await startFleet({});
  const refusing = await startFleet({ token: 'letmein' });
  const children: { kill(signal: NodeJS.Signals): unknown }[] = [];
  try {
    const devices = [
      launchMetered(own, 'registered', { provisioning: { url: fleet.provisioningUrl } }),
      launchMetered(own, 'failed', { provisioning: { url: refusing.provisioningUrl } }),
      launchMetered(own, 'stuck', { provisioning: { url: `http://127.0.0.1:${await freePort()}` } }),
    ];
    const targets: string[] = [];
    for (const { name } of devices) {
      const address = `127.0.0.1:${await freePort()}`;
      targets.push(`- {targets: ["${address}"], labels: {instance: ${name}}}`);
      children.push(launch('prometheus-node-exporter', exporterArguments(join(own, name), address)));
    }
    const address = `127.0.0.1:${await freePort()}`;
    children.push(launch('prometheus', prometheusArguments(own, address, targets)));
    const query = (expr: string) => ask(address, expr);
    const count = await compare(query, devices);
    await checkRest(devices[0] as Metered);
    const files = Object.fromEntries(
      devices.map(({ name, textfile }) => [name, readFileSync(textfile, 'utf8')]),
    );
    for (const text of Object.values(files))
      execFileSync('promtool', ['check', 'metrics'], { input: text, stdio: ['pipe', 'pipe', 'pipe'] });
    devices[0]?.running.child.kill('SIGTERM');
    await until(
      'a stopped daemon',
      async () => value(await query('onboardd_running{instance="registered"}')),
      0,
    );
    checkPromql(own);
    return {
      files,
      summary: `${count} queries of three daemons, ${await rulesIn(address)} rules are healthy`,
    };
  } finally {
    for (const child of children) child.kill('SIGKILL');
    removeDevices();
    await fleet.stop();
    await refusing.stop();
  }
}

function launchMetered(own: string, name: string, config: Record<string, unknown>): Metered {
  const [runtime, collected] = [join(own, `run-${name}`), join(own, name)];
  mkdirSync(runtime, { recursive: true });
  mkdirSync(collected, { recursive: true });
  const textfile = join(runtime, 'onboardd.prom');
  symlinkSync(textfile, join(collected, 'onboardd.prom'));
  const retry = { initialMs: 200, maxMs: 1000, factor: 2, failedAfterMs: 0 };
  const device = newDevice({ identity: { keyType: 'ec-p256' }, retry, metrics: { textfile }, ...config });
  const running = start(device, [], { RUNTIME_DIRECTORY: runtime });
  running.ended.catch(() => undefined);
  return { name, device, textfile, running };
}

function launch(command: string, args: string[]) {
  const child = spawn(command, args, { stdio: 'ignore' });
  child.on('error', () => undefined);
  return child;
}

function exporterArguments(folder: string, address: string): string[] {
  const collector = ['--collector.disable-defaults', '--collector.textfile'];
  return [...collector, `--collector.textfile.directory=${folder}`, `--web.listen-address=${address}`];
}

function prometheusArguments(own: string, address: string, targets: string[]): string[] {
  const config = join(own, 'prometheus.yml');
  writeFileSync(
    config,
    `global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ["${docs}prometheus-rules.yaml"]
scrape_configs:
  - job_name: node
    static_configs:
      ${targets.join('\n      ')}
`,
  );
  return [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(own, 'data')}`,
    `--web.listen-address=${address}`,
  ];
}

/** What Prometheus says, held to what the devices' own state says. @returns how many queries */
async function compare(query: Query, [registered, failed, stuck]: readonly Metered[]): Promise<number> {
  if (!registered || !failed || !stuck) throw new Error('a device is missing');
  await registered.running.until(({ event }) => event === 'device.registered');
  const certificate = new X509Certificate(readFileSync(join(registered.device.stateDir, 'identity.crt')));
  const renewAt = JSON.parse(readFileSync(join(registered.device.stateDir, 'state.json'), 'utf8')).provisioned
    .renewAt as string;
  const attempts = () => stuck.running.lines.filter(({ event }) => event === 'step.failed').length;
  await stuck.running.until(({ attempt }) => Number(attempt) >= 4);
  const expected: [string, number][] = [
    ['onboardd_state{instance="registered",state="registered"}', 1],
    ['sum(onboardd_state{instance="registered"})', 1],
    ['onboardd_state{instance="failed",state="failed"}', 1],
    ['onboardd_state{instance="stuck",state="csr"}', 1],
    ['onboardd_failures_total{instance="failed",code="PROVISIONING_REJECTED"}', 1],
    ['count(onboardd_failures_total{instance="registered"}) or vector(0)', 0],
    [
      'onboardd_certificate_not_after_timestamp_seconds{instance="registered"}',
      Date.parse(certificate.validTo) / 1000,
    ],
    [
      'onboardd_certificate_renew_at_timestamp_seconds{instance="registered"}',
      Math.floor(Date.parse(renewAt) / 1000),
    ],
    ['count(onboardd_certificate_not_after_timestamp_seconds{instance="stuck"}) or vector(0)', 0],
    ['count(onboardd_running == 1)', 3],
    ['count(onboardd_info)', 3],
    ['bool_of(onboardd_attempts{instance="stuck"} >= 4)', 1],
    ['bool_of(onboardd_failures_total{instance="stuck",code="PROVISIONING_UNREACHABLE"} >= 4)', 1],
    ['bool_of(abs(time() - onboardd_last_seen_timestamp_seconds{instance="stuck"}) < 30)', 1],
  ];
  for (const [text, wanted] of expected) {
    const expr = text.replace(/^bool_of\((.*)\)$/, 'count($1)');
    await until(expr, async () => value(await query(expr)), wanted);
  }
  check('the counter is no more than what was tried', attempts() > 0, true);
  return expected.length;
}

/** At rest nobody writes the file. A second and a half is longer than every wait of a registered device's start. */
async function checkRest({ textfile }: Metered): Promise<void> {
  const before = readFileSync(textfile, 'utf8');
  await new Promise((resolve) => setTimeout(resolve, 1500));
  check('a device at rest does not rewrite its metrics', readFileSync(textfile, 'utf8'), before);
}

/** The dashboard's queries are parsed as the rules of a file are. @throws {Error} with what promtool says */
function checkPromql(own: string): void {
  const file = join(own, 'dashboard-rules.yaml');
  const rules = dashboardQueries('prometheus').map((expr, index) => ({ record: `panel:${index}`, expr }));
  writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
  execFileSync('promtool', ['check', 'rules', file, `${docs}prometheus-rules.yaml`], { stdio: 'pipe' });
}

type Result = readonly { readonly value: readonly [number, string] }[];
type Query = (expr: string) => Promise<Result>;

async function ask(address: string, expr: string): Promise<Result> {
  try {
    const response = await fetch(`http://${address}/api/v1/query?query=${encodeURIComponent(expr)}`);
    return ((await response.json()) as { data: { result: Result } }).data?.result ?? [];
  } catch {
    return [];
  }
}

function value(result: Result): number | null {
  return result[0] === undefined ? null : Number(result[0].value[1]);
}

async function rulesIn(address: string): Promise<number> {
  let healthy: number | null = null;
  const look = async () => {
    const response = await fetch(`http://${address}/api/v1/rules`);
    const { data } = (await response.json()) as { data: { groups: { rules: { health: string }[] }[] } };
    const rules = data.groups.flatMap((group) => group.rules);
    healthy = rules.length;
    return rules.filter(({ health }) => health !== 'ok').length;
  };
  await until('every rule is healthy', look, 0);
  return healthy ?? 0;
}

async function until(what: string, look: () => Promise<number | null>, wanted: number): Promise<void> {
  const end = performance.now() + patienceMs;
  let seen: number | null = null;
  while (performance.now() < end) {
    seen = await look();
    if (seen === wanted) return;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  throw new Error(`${what} is ${seen}, not ${wanted}`);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
