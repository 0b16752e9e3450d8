import { X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { NatsConnection } from 'nats';
import { hostAndPort, isLoopback, reachableAt } from './addresses.ts';
import { announce, announcedAddresses } from './announce.ts';
import type { Authority } from './ca.ts';
import { type NatsCluster, startCluster } from './cluster.ts';
import { watchConnections } from './connections.ts';
import { openDataDirectory, WorkbenchError } from './dataDirectory.ts';
import type { Device } from './device.ts';
import { createFaults, type Faults } from './faults.ts';
import { certificateEvent, type Ledger, openLedger, shortText } from './ledger.ts';
import { connectAs, type Manager, startManager } from './manager.ts';
import { type NatsServer, startNats } from './nats.ts';
import { monitorName } from './natsConfig.ts';
import {
  deviceIdOf,
  type Provisioning,
  type ProvisioningOptions,
  startProvisioning,
} from './provisioning.ts';
import type { RegistrationRequest } from './registrationRequest.ts';

const weekMs = 7 * 24 * 3_600_000;
const stopMs = 3_000;
/** Requests whose bodies are kept in memory */
const keep = 1_000;

export interface WorkbenchOptions {
  /** The folder of what survives a restart. */
  data: string;
  /** The address to listen on: 127.0.0.1, 0.0.0.0 for all, or one of this machine's. */
  listen: string;
  /** 0: a free one, another at each start. A cluster takes two more after `nats`. */
  ports: { http: number; https: number; nats: number };
  mdns: boolean;
  cluster: boolean;
  /** How long certificates live. */
  certificateMs: number;
  /** nats-server */
  program?: string;
  /** What went wrong without ending anything. */
  onProblem: (problem: string) => void;
}

export interface Workbench {
  readonly ca: Authority;
  /** SHA-256 of the CA certificate, as openssl prints it */
  readonly fingerprint: string;
  readonly provisioning: Provisioning;
  readonly manager: Manager;
  /** in a cluster all three */
  readonly natsServers: readonly NatsServer[];
  readonly ledger: Ledger;
  readonly faults: Faults;
  /** Where devices find it, the best address first. */
  readonly urls: { http: string; https: string; nats: string };
  readonly hosts: readonly string[];
  readonly isOpenToOthers: boolean;
  readonly isAnnounced: boolean;
  /** A secret for whoever may operate it; it survives a restart. */
  readonly token: string;
  /** Locks a device out of NATS, and gives it no certificate any more. */
  revoke(id: string): Promise<void>;
  /** Ends that. */
  restore(id: string): Promise<void>;
  /** The fleet manager forgets a device, which may register anew. */
  forget(id: string): Promise<void>;
  /** Ended before what the workbench itself started. */
  onStop(end: () => unknown): void;
  stop(): Promise<void>;
}

/**
 * The workbench fleet: CA, provisioning server, nats-server and fleet manager, with what they know kept in a folder.
 *
 * @throws {WorkbenchError} where a person can put it right, such as a port in use
 */
export async function startWorkbench(options: WorkbenchOptions): Promise<Workbench> {
  const ends: (() => unknown)[] = [];
  const stop = once(async () => {
    for (const end of ends.splice(0).reverse()) await within(stopMs, end());
  });
  try {
    return await start(options, ends, stop);
  } catch (error) {
    await stop();
    throw asWorkbenchError(error);
  }
}

async function start(
  options: WorkbenchOptions,
  ends: (() => unknown)[],
  stop: () => Promise<void>,
): Promise<Workbench> {
  const data = await openDataDirectory(options.data);
  ends.push(data.release);
  const ca = await data.authority('ca', 'Workbench fleet CA (not for production)');
  await writeFile(join(data.path, 'ca.crt'), ca.pem);
  const ledger = await openLedger(join(data.path, 'history.jsonl'));
  ends.push(ledger.close);
  const hosts = reachableAt(options.listen);
  const [best = options.listen] = hosts;

  const nats = await startServers(options, data.path, ca, ledger);
  const natsServers = 'servers' in nats ? nats.servers : [nats];
  ends.push(() => Promise.all(natsServers.map((server) => server.stop())));
  const natsAt = (host: string) =>
    natsServers.map(({ port }) => `tls://${hostAndPort(host, port)}`).join(',');

  const provisioning = await startProvisioning({
    authority: ca,
    web: await ca.issueServer({ hosts }),
    ...{ natsUrl: natsAt(best), natsUrlAt: natsAt, host: options.listen, ports: options.ports, keep },
    async authorise(id, commonName) {
      // It may have been revoked since it asked.
      if (!ledger.devices.get(id)?.isRevoked) await nats.authorise(id, commonName);
    },
    ...noted(ledger, options.onProblem),
  });
  ends.push(provisioning.stop);

  const connection = { authority: ca, servers: natsServers.map(({ host, port }) => `${host}:${port}`) };
  const manager = await startManager({
    ...connection,
    ...{ replicas: natsServers.length, maxAgeMs: weekMs, keep },
    fields: () => ({ token: 'workbench bench-token\n', configuration: 'services: {}\n' }),
    onResult: (request, result) => noteResult(ledger, request, result).catch(options.onProblem),
  });
  ends.push(() => within(stopMs, manager.stop()));
  const monitor = await connectAs(monitorName, connection);
  ends.push(() => monitor.close());
  await noteConnections(monitor, ledger, options.onProblem);

  const faults = createFaults({ provisioning, manager, nats, ledger }, options.certificateMs);
  ends.push(() => faults.set('stall-nats', false));
  const port = Number(new URL(provisioning.httpUrl).port);
  const isOpenToOthers = !isLoopback(options.listen);
  const announced = options.mdns && isOpenToOthers ? announcedAddresses(options.listen) : [];
  ends.push(announce(port, announced, (error) => options.onProblem(`multicast DNS: ${error.message}`)));
  return {
    ...{ ca, provisioning, manager, natsServers, ledger, faults, hosts, isOpenToOthers, stop },
    onStop: (end) => ends.push(end),
    fingerprint: new X509Certificate(ca.pem).fingerprint256,
    isAnnounced: announced.length > 0,
    token: await data.secret('page-token'),
    urls: {
      http: `http://${hostAndPort(best, port)}`,
      https: `https://${hostAndPort(best, Number(new URL(provisioning.httpsUrl).port))}`,
      nats: natsAt(best),
    },
    ...operations(nats, manager, ledger),
  };
}

function startServers(
  { listen, ports, cluster, program }: WorkbenchOptions,
  path: string,
  authority: Authority,
  ledger: Ledger,
): Promise<NatsCluster | NatsServer> {
  const devices = [...ledger.devices.values()]
    .filter(({ isRevoked, commonName }) => !isRevoked && commonName !== '')
    .map(({ id, commonName }) => [id, commonName] as const);
  const hosts = reachableAt(listen);
  const common = { authority, program, devices, hosts, host: listen, isMonitored: true };
  const port = ports.nats === 0 ? undefined : ports.nats;
  if (!cluster) return startNats({ ...common, dir: join(path, 'nats'), port });
  const three = port === undefined ? undefined : [port, port + 1, port + 2];
  return startCluster({ ...common, dir: join(path, 'nats-cluster'), ports: three });
}

/** What the provisioning server does, as events. */
function noted(
  ledger: Ledger,
  onProblem: (problem: string) => void,
): Pick<ProvisioningOptions, 'onCertified' | 'onRefused'> {
  return {
    onCertified: ({ id = '', remoteAddress: address, csrSubject: commonName = '' }, certificate) =>
      ledger.add(certificateEvent({ id, address, commonName }, certificate)),
    onRefused({ id, remoteAddress: address, url }, { status = null, error = onPurpose(status) }) {
      // What a browser asks for by itself is no device.
      if (url === '/favicon.ico') return;
      const known = id === undefined || id === '' ? {} : { id };
      ledger
        .add({ at: Date.now(), event: 'request.refused', ...known, address, status, error: shortText(error) })
        .catch((problem: Error) => onProblem(problem.message));
    },
  };
}

function onPurpose(status: number | null): string {
  return status === 403 ? 'the device is revoked' : 'a fault is switched on';
}

async function noteResult(
  ledger: Ledger,
  { id, body, seq: sequence }: RegistrationRequest,
  result: Record<string, unknown>,
): Promise<void> {
  const at = Date.now();
  if (result.status !== 'success') {
    await ledger.add({ at, event: 'registration.rejected', id, error: shortText(result.error) });
    return;
  }
  // Delivered again, since its acknowledgement was lost: that is the same acceptance.
  if (sequence !== undefined && ledger.devices.get(id)?.acceptedSequence === sequence) return;
  const { deviceType, architecture, buildVersion } = body ?? {};
  await ledger.add({
    ...{ at, event: 'registration.accepted', id, sequence, alias: shortText(result.alias) },
    deviceType: shortText(deviceType),
    architecture: shortText(architecture),
    buildVersion: shortText(buildVersion),
  });
}

function noteConnections(
  monitor: NatsConnection,
  ledger: Ledger,
  onProblem: (problem: string) => void,
): Promise<void> {
  return watchConnections(monitor, ({ isOpen, commonName, address, reason }) => {
    const id = deviceIdOf(commonName);
    if (id === '') return;
    const event = isOpen ? ('nats.connected' as const) : ('nats.disconnected' as const);
    ledger
      .add({ at: Date.now(), event, id, address, reason: shortText(reason) })
      .catch((problem: Error) => onProblem(problem.message));
  });
}

function operations(nats: NatsCluster | NatsServer, manager: Manager, ledger: Ledger) {
  const known = (id: string): Device => {
    const device = ledger.devices.get(id);
    if (device === undefined) throw new WorkbenchError(`no device ${id}`);
    return device;
  };
  return {
    async revoke(id: string) {
      known(id);
      await ledger.add({ at: Date.now(), event: 'device.revoked', id });
      await nats.revoke(id);
    },
    async restore(id: string) {
      const { commonName } = known(id);
      await ledger.add({ at: Date.now(), event: 'device.restored', id });
      if (commonName !== '') await nats.authorise(id, commonName);
    },
    async forget(id: string) {
      known(id);
      await manager.registry.forget(id);
      await ledger.add({ at: Date.now(), event: 'device.forgotten', id });
    },
  };
}

/** What a person can put right, said so. */
export function asWorkbenchError(error: unknown): unknown {
  const { code, port, message = '' } = error as NodeJS.ErrnoException & { port?: number };
  if (code === 'EADDRINUSE')
    return new WorkbenchError(`port ${port} is in use: name another (--help lists the options)`);
  if (code === 'EADDRNOTAVAIL' || message.includes('cannot assign requested address'))
    return new WorkbenchError('--listen: no address of this machine');
  const [, inUse] = /listen tcp \S*?:(\d+): bind: address already in use/.exec(message) ?? [];
  if (inUse !== undefined)
    return new WorkbenchError(`port ${inUse} is in use: name another (--help lists the options)`);
  return error;
}

function once(work: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => {
    done ??= work();
    return done;
  };
}

/** Waits for work, but not for long: what hangs must not keep the rest from ending. */
async function within(ms: number, work: unknown): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, late]).catch(() => undefined);
  clearTimeout(timer);
}
