import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Authority, type AuthorityOptions, createAuthority } from './ca.ts';
import { type NatsCluster, startCluster } from './cluster.ts';
import { type Manager, type ManagerOptions, startManager } from './manager.ts';
import { type NatsServer, type NatsSettings, startNats } from './nats.ts';
import type { RightsOf } from './natsConfig.ts';
import { type Provisioning, startProvisioning } from './provisioning.ts';
import { memoryRegistry } from './registry.ts';

type ManagerChoices = Pick<ManagerOptions, 'api' | 'fields' | 'fieldsIn' | 'allowDirect' | 'streams'>;

export interface FleetOptions extends ManagerChoices {
  /** The authority of devices and of the NATS server, or how to make it. */
  authority?: Authority | AuthorityOptions;
  nats?: NatsSettings & { port?: number };
  /** Three NATS servers, and streams of three replicas. */
  cluster?: boolean;
  rights?: RightsOf;
  /** The bearer token that the provisioning server wants. */
  token?: string;
  /** false: starts without a fleet manager; `startManager` starts one later */
  manager?: boolean;
}

export interface Fleet {
  /** A temporary folder that goes with the fleet. */
  dir: string;
  ca: Authority;
  /** in a cluster its first server */
  nats: NatsServer;
  cluster: NatsCluster | undefined;
  provisioning: Provisioning;
  /** The running fleet manager. @throws {Error} where there is none */
  readonly manager: Manager;
  /** Starts a fleet manager, ending the running one; it knows the devices that the former one knew. */
  startManager(changes?: ManagerChoices): Promise<Manager>;
  /** `http://127.0.0.1:port` */
  provisioningUrl: string;
  /** the same server over HTTPS */
  httpsUrl: string;
  /** PEM of the authority that signed the HTTPS certificate, which is not the devices' */
  caFile: string;
  /** What devices are given as `fleetManagementNatsUrl`; settable as `provisioning.natsUrl`. */
  readonly natsUrl: string;
  /** Ends everything and removes the folder; more than once does no harm. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A whole fleet on 127.0.0.1: certificate authority, provisioning server, nats-server with JetStream and mutual TLS,
 * fleet manager.
 */
export async function startFleet(options: FleetOptions = {}): Promise<Fleet> {
  const dir = await mkdtemp(join(tmpdir(), 'fleet-'));
  const ends: (() => Promise<void>)[] = [() => rm(dir, { recursive: true, force: true, maxRetries: 3 })];
  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= inReverse(ends);
    return stopping;
  };
  try {
    return await start();
  } catch (error) {
    await stop();
    throw error;
  }

  async function start(): Promise<Fleet> {
    const ca = await authorityOf(options.authority);
    const webAuthority = await createAuthority({ commonName: 'Stand-in web root' });
    const web = await webAuthority.issueServer({ hosts: ['localhost', '127.0.0.1'] });
    const caFile = join(dir, 'web_ca.crt');
    await writeFile(caFile, webAuthority.pem);

    const natsDir = join(dir, 'nats');
    const natsOptions = { ...options.nats, authority: ca, dir: natsDir, rights: options.rights };
    const cluster = options.cluster ? await startCluster(natsOptions) : undefined;
    const nats = cluster?.servers[0] ?? (await startNats(natsOptions));
    const natsServers = cluster?.servers ?? [nats];
    ends.push(async () => {
      await Promise.all(natsServers.map((server) => server.kill()));
    });

    const provisioning = await startProvisioning({
      authority: ca,
      web,
      natsUrl: (cluster ?? nats).url,
      authorise: (cluster ?? nats).authorise,
      token: options.token,
    });
    ends.push(provisioning.stop);

    const registry = memoryRegistry();
    let manager: Manager | undefined;
    let choices: ManagerChoices = options;
    ends.push(async () => manager?.stop());
    const fleet: Fleet = {
      dir,
      ca,
      nats,
      cluster,
      provisioning,
      get manager() {
        if (manager === undefined) throw new Error('the fleet has no manager');
        return manager;
      },
      async startManager(changes = {}) {
        await manager?.stop();
        choices = { ...choices, ...changes };
        const usualApi = options.nats?.jetstream === false ? 'plain' : 'jetstream';
        const { api = usualApi, fields, fieldsIn, allowDirect, streams } = choices;
        manager = await startManager({
          authority: ca,
          servers: natsServers.map(({ host, port }) => `${host}:${port}`),
          tls: nats.url.startsWith('tls:'),
          replicas: natsServers.length,
          registry: api === 'jetstream' ? undefined : registry,
          ...{ api, fields, fieldsIn, allowDirect, streams },
        });
        return manager;
      },
      provisioningUrl: provisioning.httpUrl,
      httpsUrl: provisioning.httpsUrl,
      caFile,
      get natsUrl() {
        return provisioning.natsUrl;
      },
      stop,
      [Symbol.asyncDispose]: stop,
    };
    if (options.manager !== false) await fleet.startManager();
    return fleet;
  }
}

async function authorityOf(choice: Authority | AuthorityOptions = {}): Promise<Authority> {
  return 'issueClient' in choice ? choice : createAuthority(choice);
}

async function inReverse(ends: (() => Promise<void>)[]): Promise<void> {
  for (const end of ends.reverse()) await end();
}
