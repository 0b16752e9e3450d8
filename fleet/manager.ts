import { randomUUID } from 'node:crypto';
import {
  connect,
  type JsMsg,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  headers as newHeaders,
  type TlsOptions,
} from 'nats';
import type { Authority } from './ca.ts';
import { createJournal, type Journal } from './journal.ts';
import { managerName } from './natsConfig.ts';
import { flawOf, type RegistrationRequest, requestOf } from './registrationRequest.ts';
import { bucketRegistry, memoryRegistry, type Registry } from './registry.ts';
import { actionsOf, createStreams, type StreamOptions } from './streams.ts';

export const alreadyRegistered = 'device already registered';
const action = 'device_actions.*.register';
const againMs = 1_000;

/**
 * What the manager may do to a request instead of what it should:
 *
 * - `ignore`: the request is lost: nothing registered, nothing answered
 * - `lose`: registers the device, but the result is lost
 * - `hold`: nothing yet; `release()` answers
 */
export type ManagerBehaviour =
  | 'ignore'
  | 'lose'
  | 'hold'
  | {
      /** before the device is registered */
      delayMs?: number;
      /** how many times the result is published, 1 by default */
      copies?: number;
      /** published instead of the result's JSON, as it is; the device is registered all the same */
      raw?: string | Uint8Array;
      /** headers of the result to replace; undefined leaves one out */
      headers?: { ID?: string | undefined; timestamp?: string | undefined };
      /** answers a failure with this text, and registers nothing */
      reject?: string;
      /** further or other fields of the answer */
      fields?: Record<string, unknown>;
    };

export interface ManagerOptions extends StreamOptions {
  authority: Authority;
  /** host:port, one or more */
  servers: string[];
  /** false: plaintext */
  tls?: boolean;
  /**
   * - `jetstream` (default): requests from a durable consumer, results into a stream
   * - `plain`: requests from a plain subscription, results published without a stream
   * - `request`: the discontinued API, answers to a NATS request
   */
  api?: 'jetstream' | 'plain' | 'request';
  /** Further fields of a successful answer, such as token and configuration. */
  fields?: (id: string) => Record<string, unknown>;
  /** Where those go: beside the status (default) or under `payload`; `request` knows only the former. */
  fieldsIn?: 'answer' | 'payload';
  /** Called with each request and what was decided, before that is published. */
  onResult?: (request: RegistrationRequest, result: Record<string, unknown>) => void;
  /** How many requests are kept; all by default. */
  keep?: number;
  /** Where there is no stream: what outlives a restart of the manager. */
  registry?: Registry;
}

export interface Manager {
  requests: RegistrationRequest[];
  journal: Journal<RegistrationRequest>;
  /** How often each device was registered: more than once is an error of the fleet, never of a device. */
  accepted: Map<string, { alias: string; count: number; at: number[] }>;
  /** What went wrong inside. */
  errors: unknown[];
  registry: Registry;
  connection: NatsConnection;
  /** Settable at any time, asked once per request; `n` counts them from 1. Undefined: as it should be. */
  behave: (request: RegistrationRequest, n: number) => ManagerBehaviour | undefined;
  /** Answers what is held, of one device or of all: as it should be, or as `behaviour` has it. What fails stays held. */
  release(id?: string, behaviour?: Exclude<ManagerBehaviour, 'hold'>): Promise<void>;
  /** Publishes a result that nobody asked for. */
  publish(id: string, body: unknown, headers?: Record<string, string | undefined>): Promise<void>;
  stop(): Promise<void>;
}

/** The fleet manager of protocol.md, parts 2 and 3. Resolves once it takes requests. */
export async function startManager(options: ManagerOptions): Promise<Manager> {
  const { api = 'jetstream', fields = () => ({}), fieldsIn = 'answer' } = options;
  const connection = await connectAs(managerName, options);
  if (api === 'jetstream') await createStreams(connection, options);
  const registry =
    options.registry ??
    (api === 'jetstream' ? await bucketRegistry(connection, options.replicas ?? 1) : memoryRegistry());
  const journal = createJournal<RegistrationRequest>('registration requests', options.keep);
  const held: RegistrationRequest[] = [];
  const counted = new Set<string>();
  let endConsuming: () => Promise<unknown> = async () => undefined;

  const manager: Manager = {
    requests: journal.entries,
    journal,
    accepted: new Map(),
    errors: [],
    registry,
    connection,
    behave: () => undefined,
    async release(id, behaviour) {
      const freed = held.filter((request) => id === undefined || request.id === id);
      for (const request of freed) held.splice(held.indexOf(request), 1);
      for (const request of freed) {
        await answer(request, behaviour).catch((error: unknown) => {
          held.push(request);
          throw error;
        });
      }
    },
    publish: (id, body, overrides = {}) => publish(id, Buffer.from(JSON.stringify(body)), overrides),
    async stop() {
      await endConsuming();
      await connection.close();
    },
  };

  async function handle(message: Msg | JsMsg, stored: JsMsg | undefined): Promise<void> {
    const request = requestOf(message, stored, api === 'request' ? (message as Msg).reply : undefined);
    journal.add(request);
    const behaviour = manager.behave(request, journal.entries.length);
    if (behaviour === 'hold') {
      held.push(request);
    } else if (behaviour !== 'ignore') {
      await answer(request, behaviour);
    }
    stored?.ack();
  }

  async function answer(
    request: RegistrationRequest,
    behaviour: Exclude<ManagerBehaviour, 'hold'> | undefined,
  ) {
    const {
      delayMs,
      copies = 1,
      raw,
      headers,
      reject,
      fields: more,
    } = typeof behaviour === 'object' ? behaviour : {};
    if (delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, delayMs));
    const result =
      reject === undefined ? await register(request, more) : { status: 'failure', error: reject };
    options.onResult?.(request, result);
    if (behaviour === 'lose') return;
    const payload = Buffer.from(raw ?? JSON.stringify(result));
    for (let copy = 0; copy < copies; copy += 1) {
      if (request.reply === undefined) await publish(request.id, payload, headers);
      else connection.publish(request.reply, payload);
    }
  }

  async function register(request: RegistrationRequest, more: Record<string, unknown> = {}) {
    const { id, body, seq, at } = request;
    const flaw = flawOf(request, { withHeaders: api !== 'request' });
    if (flaw !== undefined) return { status: 'failure', error: flaw, ...more };
    const mark = seq === undefined ? randomUUID() : `sequence ${seq}`;
    if (!(await registry.create(id, mark))) return { status: 'failure', error: alreadyRegistered, ...more };
    const alias = typeof body?.alias === 'string' ? body.alias : `Alpha${id}`;
    // A question whose acknowledgement was lost is delivered again: that is the same acceptance.
    if (!counted.has(`${id} ${mark}`)) {
      counted.add(`${id} ${mark}`);
      const { count, at: times } = manager.accepted.get(id) ?? { count: 0, at: [] };
      manager.accepted.set(id, { alias, count: count + 1, at: [...times, at] });
    }
    const extra = fields(id);
    if (api === 'request') return { alias, ...extra, ...more };
    return fieldsIn === 'payload'
      ? { status: 'success', payload: { alias, ...extra }, alias, ...more }
      : { status: 'success', payload: { alias }, alias, ...extra, ...more };
  }

  async function publish(
    id: string,
    payload: Uint8Array,
    overrides: Record<string, string | undefined> = {},
  ) {
    const headers = headersOf({ ID: id, timestamp: rfc3339(new Date()), ...overrides });
    const subject = `device_results.${id}.register`;
    if (api === 'jetstream') await connection.jetstream().publish(subject, payload, { headers });
    else connection.publish(subject, payload, { headers });
  }

  const note = (error: unknown) => {
    if (!connection.isClosed()) manager.errors.push(error);
  };
  if (api === 'jetstream') {
    const messages = await actionsOf(connection, action);
    endConsuming = () => messages.close();
    (async () => {
      for await (const message of messages) {
        handle(message, message).catch((error: unknown) => {
          note(error);
          // Such as while a cluster elects a leader: it is to come again soon, not after `ack_wait`.
          if (!connection.isClosed()) message.nak(againMs);
        });
      }
    })().catch(note);
  } else {
    const messages = connection.subscribe(action);
    (async () => {
      for await (const message of messages) handle(message, undefined).catch(note);
    })().catch(note);
    await connection.flush();
  }
  return manager;
}

/** A connection of one of the fleet's own services. */
export async function connectAs(
  commonName: string,
  { authority, servers, tls = true }: Pick<ManagerOptions, 'authority' | 'servers' | 'tls'>,
): Promise<NatsConnection> {
  const { chain, key } = await authority.issueClient({ commonName });
  return connect({
    servers,
    name: commonName,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
    reconnectJitter: 10,
    pingInterval: 5_000,
    inboxPrefix: `_INBOX_${commonName}`,
    // A server certificate made wrong on purpose is for the devices to refuse.
    ...(tls ? { tls: { cert: chain, key, ca: authority.pem, rejectUnauthorized: false } as TlsOptions } : {}),
  });
}

function headersOf(values: Record<string, string | undefined>): MsgHdrs {
  const headers = newHeaders();
  for (const [name, value] of Object.entries(values)) if (value !== undefined) headers.set(name, value);
  return headers;
}

/** Whole seconds, as Go's time.RFC3339 has it. */
export function rfc3339(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, 'Z');
}
