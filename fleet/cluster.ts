import { createServer } from 'node:net';
import { join } from 'node:path';
import { type NatsOptions, type NatsServer, startNats } from './nats.ts';
import type { RightsOf } from './natsConfig.ts';

export interface NatsCluster {
  servers: NatsServer[];
  /** `tls://…` addresses, separated by commas */
  readonly url: string;
  authorise(id: string, commonName: string): Promise<void>;
  revoke(id: string): Promise<void>;
  setRights(rights: RightsOf): Promise<void>;
  /** @throws {Error} where the stream has no leader */
  leaderOf(stream: string): Promise<NatsServer>;
  stop(): Promise<void>;
}

/**
 * Three nats-servers as a cluster, for streams of three replicas. JetStream takes a few seconds more until its servers
 * have agreed on a leader: `createStreams` is patient.
 */
export async function startCluster({
  ports: clientPorts,
  ...options
}: Omit<NatsOptions, 'cluster' | 'name' | 'port'> & { ports?: number[] }): Promise<NatsCluster> {
  const ports = await freePorts(3);
  const routes = ports.map((port) => `nats-route://127.0.0.1:${port}`);
  const servers = await Promise.all(
    ports.map((port, index) =>
      startNats({
        ...options,
        name: `fleet-${index + 1}`,
        port: clientPorts?.[index],
        dir: join(options.dir, `${index + 1}`),
        cluster: { port, routes },
      }),
    ),
  );
  const onAll = async (work: (server: NatsServer) => Promise<void>) => {
    await Promise.all(servers.map(work));
  };
  return {
    servers,
    get url() {
      return servers.map(({ url }) => url).join(',');
    },
    authorise: (id, commonName) => onAll((server) => server.authorise(id, commonName)),
    revoke: (id) => onAll((server) => server.revoke(id)),
    setRights: (rights) => onAll((server) => server.setRights(rights)),
    leaderOf: (stream) => leaderOf(stream, servers),
    stop: () => onAll((server) => server.stop()),
  };
}

/** The server that leads a stream. @throws {Error} where it has no leader */
export async function leaderOf(stream: string, servers: readonly NatsServer[]): Promise<NatsServer> {
  for (const server of servers.filter(({ isRunning }) => isRunning)) {
    const name = await leaderNameOf(stream, server);
    const index = name === undefined ? -1 : Number(name.replace('fleet-', '')) - 1;
    const leader = servers[index];
    if (leader?.isRunning) return leader;
  }
  throw new Error(`${stream} has no leader`);
}

interface Jsz {
  account_details?: { stream_detail?: { name: string; cluster?: { leader?: string } }[] }[];
}

async function leaderNameOf(stream: string, { monitoringUrl }: NatsServer): Promise<string | undefined> {
  const response = await fetch(`${monitoringUrl}/jsz?streams=true`);
  const { account_details: accounts = [] } = (await response.json()) as Jsz;
  const details = accounts.flatMap(({ stream_detail = [] }) => stream_detail);
  return details.find(({ name }) => name === stream)?.cluster?.leader;
}

/** Ports that are free now: a cluster's servers have to know each other's before they start. */
async function freePorts(count: number): Promise<number[]> {
  const holders = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    holders.map(
      (holder) =>
        new Promise<number>((resolve, reject) => {
          holder.once('error', reject);
          holder.listen(0, '127.0.0.1', () => {
            const address = holder.address();
            resolve(typeof address === 'object' && address !== null ? address.port : 0);
          });
        }),
    ),
  );
  await Promise.all(holders.map((holder) => new Promise((resolve) => holder.close(resolve))));
  return ports;
}
