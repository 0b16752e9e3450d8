import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { natsServer } from '../scripts/nats-server.mjs';
import type { Authority, Issued } from './ca.ts';
import { type Child, startChild } from './childProcess.ts';
import {
  type ConfigInput,
  deviceRights,
  managerName,
  natsConfig,
  type Rights,
  type RightsOf,
} from './natsConfig.ts';

const startMs = 20_000;
const graceMs = 3_000;
const reloadMs = 10_000;
const loopback = '127.0.0.1';

export interface NatsSettings {
  /** Whether the server speaks JetStream; true by default. */
  jetstream?: boolean;
  /** Whether it speaks TLS and asks for client certificates; true by default. Without, everybody may do everything. */
  tls?: boolean;
  /** The server's certificate; by default one of the authority for localhost and 127.0.0.1. */
  serverCertificate?: Issued;
  /** What clients' certificates must be signed by; the authority's root by default. */
  clientAuthority?: Authority;
  /** The longest message, bytes; 1 MiB by default. */
  maxPayload?: number;
}

export interface NatsOptions extends NatsSettings {
  authority: Authority;
  /** An empty folder for configuration, keys and the JetStream store. */
  dir: string;
  rights?: RightsOf;
  name?: string;
  cluster?: ConfigInput['cluster'];
  /** A free one by default. */
  port?: number;
  /** The address to listen on; 127.0.0.1 by default. */
  host?: string;
  /** What the server's certificate is for; localhost and 127.0.0.1 by default. */
  hosts?: string[];
  isMonitored?: boolean;
  /** Devices that are let in from the start: ids and common names. */
  devices?: Iterable<readonly [id: string, commonName: string]>;
  /** The path of nats-server; found or fetched by default. */
  program?: string;
}

export interface NatsServer {
  /** `tls://127.0.0.1:port`, or `nats://…` without TLS */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** nats-server's monitoring endpoints: `/varz`, `/connz`, `/jsz` */
  readonly monitoringUrl: string;
  readonly pid: number;
  /** The running process's log; a restart begins a new one. */
  readonly log: Child['lines'];
  readonly isRunning: boolean;
  /**
   * Lets a device in. Resolves once the server applies it (if it is down: as soon as the configuration says so);
   * calls that come while the server reloads share the next reload.
   */
  authorise(id: string, commonName: string): Promise<void>;
  /** Locks a device out again and ends its connections. */
  revoke(id: string): Promise<void>;
  /** Changes what devices may do, those already let in included. */
  setRights(rights: RightsOf): Promise<void>;
  /** Ends the process by a signal and waits for its end. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  stop(): Promise<void>;
  /** Stops the process from running, its connections stay open (SIGSTOP). */
  pause(): void;
  resume(): void;
  /** Starts anew on the same port with the same store, ending the process first where it still runs. */
  restart(changes?: NatsSettings): Promise<void>;
}

/** A real nats-server, on 127.0.0.1 by default. Resolves once it takes connections. @throws {Error} with its log if it does not */
export async function startNats(options: NatsOptions): Promise<NatsServer> {
  const { authority, dir, name = 'fleet', cluster, host = loopback, isMonitored } = options;
  const ownHost = ['0.0.0.0', '::'].includes(host) ? loopback : host;
  const plainHost = ownHost.includes(':') ? `[${ownHost}]` : ownHost;
  const program = options.program ?? (await natsServer());
  const configFile = join(dir, 'nats.conf');
  const devices = new Map(
    [...(options.devices ?? [])].map(([id, commonName]) => [id, { commonName, applied: Promise.resolve() }]),
  );
  let settings: NatsSettings = options;
  let rightsOf: RightsOf = options.rights ?? deviceRights;
  let port = options.port ?? -1;
  let monitoringPort: number;
  let tls: ConfigInput['tls'];
  let child: Child;
  let isRunning = false;
  let isPaused = false;

  function users(): [string, Rights | 'all'][] {
    const all: [string, Rights | 'all'][] = [[managerName, 'all']];
    for (const [id, { commonName }] of devices) {
      const rights = rightsOf(id, commonName);
      if (rights !== 'none') all.push([commonName, rights]);
    }
    return all;
  }

  async function writeConfig(): Promise<void> {
    const storeDir = settings.jetstream === false ? undefined : join(dir, 'jetstream');
    const { maxPayload } = settings;
    const text = natsConfig({
      ...{ name, host, port, storeDir, tls, cluster, maxPayload, isMonitored },
      users: users(),
    });
    await writeFile(`${configFile}.new`, text);
    await rename(`${configFile}.new`, configFile);
  }

  async function writeTls(): Promise<void> {
    if (settings.tls === false) {
      tls = undefined;
      return;
    }
    const issued =
      settings.serverCertificate ??
      (await authority.issueServer({ hosts: options.hosts ?? ['localhost', loopback] }));
    tls = {
      certFile: join(dir, 'server.crt'),
      keyFile: join(dir, 'server.key'),
      caFile: join(dir, 'clients.crt'),
    };
    await writeFile(tls.certFile, issued.chain);
    await writeFile(tls.keyFile, issued.key, { mode: 0o600 });
    await writeFile(tls.caFile, (settings.clientAuthority ?? authority).pem);
  }

  async function start(): Promise<void> {
    await writeTls();
    await writeConfig();
    child = await startChild(program, ['-c', configFile, '--logtime=false']);
    const { lines, ended } = child;
    const failed = ended.then((how) => {
      throw new Error(`nats-server ended with ${how}:\n${lines.entries.slice(-10).join('\n')}`);
    });
    await Promise.race([lines.first((line) => line.includes('Server is ready'), startMs), failed]);
    port = portOf(lines.entries, /Listening for client connections on .*:(\d+)$/);
    monitoringPort = portOf(lines.entries, /Starting http monitor on .*:(\d+)$/);
    isRunning = true;
    isPaused = false;
    const started = child;
    ended.then(() => {
      if (child === started) isRunning = false;
    });
    failed.catch(() => undefined);
  }

  async function reload(): Promise<void> {
    await writeConfig();
    if (!isRunning) return;
    const { lines, ended } = child;
    if (isPaused) {
      // Stays pending, and is the first thing that the process hears of.
      child.signal('SIGHUP');
      return;
    }
    const reloaded = lines.next(isReloadEnd, reloadMs);
    child.signal('SIGHUP');
    const outcome = await Promise.race([reloaded, ended]);
    reloaded.catch(() => undefined);
    if (outcome.includes('Failed to reload')) throw new Error(outcome);
  }
  const reloadSoon = batched(reload);

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (!isRunning) return;
    child.signal(signal);
    if (isPaused) child.signal('SIGCONT');
    const late = setTimeout(() => child.signal('SIGKILL'), graceMs);
    await child.ended;
    clearTimeout(late);
    isRunning = false;
  }

  await mkdir(dir, { recursive: true });
  await start();
  return {
    get url() {
      return `${tls === undefined ? 'nats' : 'tls'}://${plainHost}:${port}`;
    },
    host: plainHost,
    get port() {
      return port;
    },
    get monitoringUrl() {
      return `http://${loopback}:${monitoringPort}`;
    },
    get pid() {
      return child.pid;
    },
    get log() {
      return child.lines;
    },
    get isRunning() {
      return isRunning;
    },
    async authorise(id, commonName) {
      if (tls === undefined) return;
      const known = devices.get(id);
      const applied = known?.commonName === commonName ? known.applied : reloadSoon();
      devices.set(id, { commonName, applied });
      try {
        await applied;
      } catch (error) {
        // Left in, it would fail every other device's reload too, and its own from now on.
        if (devices.get(id)?.applied === applied) devices.delete(id);
        throw error;
      }
    },
    async revoke(id) {
      if (devices.delete(id)) await reloadSoon();
    },
    async setRights(rights) {
      rightsOf = rights;
      await reloadSoon();
    },
    kill: (signal = 'SIGKILL') => end(signal),
    stop: () => end('SIGTERM'),
    pause() {
      isPaused = true;
      child.signal('SIGSTOP');
    },
    resume() {
      isPaused = false;
      child.signal('SIGCONT');
    },
    async restart(changes = {}) {
      await end('SIGTERM');
      settings = { ...settings, ...changes };
      await start();
    },
  };
}

function isReloadEnd(line: string): boolean {
  return /Reloaded server configuration|Failed to reload/.test(line);
}

function portOf(lines: string[], pattern: RegExp): number {
  for (const line of lines) {
    const [, port] = pattern.exec(line) ?? [];
    if (port !== undefined) return Number(port);
  }
  throw new Error(`nats-server did not say its port:\n${lines.join('\n')}`);
}

/** Runs `work` for all callers since the last run began; never two at a time. */
function batched(work: () => Promise<void>): () => Promise<void> {
  let current: Promise<void> = Promise.resolve();
  let next: Promise<void> | undefined;
  return () => {
    next ??= current.then(() => {
      next = undefined;
      const run = work();
      current = run.catch(() => undefined);
      return run;
    });
    return next;
  };
}
