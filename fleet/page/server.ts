import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { hostAndPort } from '../addresses.ts';
import { WorkbenchError } from '../dataDirectory.ts';
import type { FleetEvent } from '../device.ts';
import { faults as catalogue, type Fault, isFault } from '../faults.ts';
import type { Workbench } from '../workbench.ts';
import type { Change, FaultView, Snapshot } from './view.ts';

/** Changes are told together, so often at most, ms. */
const tellEveryMs = 200;
const aliveEveryMs = 15_000;
const mostViewers = 50;
const mostBytes = 4_096;
const operations = ['revoke', 'restore', 'forget'] as const;

/** Nothing but this page's own files, and nobody frames it. Devices' text is set as text by the page's library. */
const headers = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
};

export interface PageOptions {
  workbench: Workbench;
  /** the folder of index.html, app.js and style.css */
  assets: string;
  host: string;
  /** 0: a free one */
  port: number;
}

export interface Page {
  /** for whoever may push its buttons: with the token behind the `#`, which no request carries */
  url: string;
  stop(): Promise<void>;
}

/** A request that is not served: HTTP status and why. */
class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** The live page of a workbench: what it knows, as server-sent events, and buttons for whoever has the token. */
export async function startPage({ workbench, assets, host, port }: PageOptions): Promise<Page> {
  const files = new Map(
    [
      ['/', 'index.html', 'text/html; charset=utf-8'],
      ['/app.js', 'app.js', 'text/javascript; charset=utf-8'],
      ['/style.css', 'style.css', 'text/css; charset=utf-8'],
    ].map(([path = '', name = '', type = '']) => [path, { type, text: readFileSync(join(assets, name)) }]),
  );
  const stream = createStream(workbench);

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    checkHost(request, workbench.hosts);
    const { pathname: path } = new URL(request.url ?? '/', 'http://page');
    const file = files.get(path);
    if (request.method === 'POST') {
      await operate(path, await jsonOf(request), workbench);
      stream.tell();
      response.writeHead(204, headers).end();
    } else if (request.method !== 'GET') {
      throw new Refusal(405, 'only GET and POST');
    } else if (file !== undefined) {
      response.writeHead(200, { ...headers, 'content-type': file.type }).end(file.text);
    } else if (path === '/ca.crt') {
      response.writeHead(200, { ...headers, 'content-type': 'application/x-pem-file' }).end(workbench.ca.pem);
    } else if (path === '/events') {
      stream.open(response);
    } else {
      answer(response, 200, historyOf(path, workbench));
    }
  }

  const server = createServer((request, response) => {
    const work =
      request.method === 'POST' && !hasToken(request, workbench.token)
        ? Promise.reject(new Refusal(401, 'the token of the address is missing or wrong'))
        : serve(request, response);
    work.catch((error: unknown) => {
      const isOurs = error instanceof Refusal || error instanceof WorkbenchError;
      const status = error instanceof Refusal ? error.status : isOurs ? 404 : 500;
      if (!response.headersSent) answer(response, status, { error: isOurs ? error.message : 'failed' });
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  const { port: taken } = server.address() as AddressInfo;
  return {
    url: `http://${hostAndPort(workbench.hosts[0] ?? host, taken)}/#${workbench.token}`,
    stop: () =>
      new Promise((resolve) => {
        stream.stop();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A name that leads here without being ours is that of a page which wants to read this one (DNS rebinding). */
function checkHost({ headers: { host = '' } }: IncomingMessage, hosts: readonly string[]): void {
  const name = host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  const isOurs = hosts.some((ours) => ours.toLowerCase() === name.toLowerCase());
  if (!isOurs) throw new Refusal(421, 'not the name of this workbench');
}

function hasToken({ headers: { authorization = '' } }: IncomingMessage, token: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(authorization), digest(`Bearer ${token}`));
}

async function jsonOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  if (request.headers['content-type'] !== 'application/json') throw new Refusal(415, 'only application/json');
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > mostBytes) throw new Refusal(413, 'too large');
    chunks.push(chunk as Buffer);
  }
  try {
    return Object(JSON.parse(Buffer.concat(chunks).toString()));
  } catch {
    throw new Refusal(400, 'not JSON');
  }
}

async function operate(path: string, body: Record<string, unknown>, workbench: Workbench): Promise<void> {
  const [, what, id = '', operation] = path.split('/');
  const known = operations.find((name) => name === operation);
  if (path === '/recover') {
    for (const fault of [...workbench.faults.active]) await switchFault(workbench, fault, false);
  } else if (path === '/faults' && isFault(body.fault) && typeof body.on === 'boolean') {
    await switchFault(workbench, body.fault, body.on);
  } else if (what === 'devices' && known !== undefined) {
    await workbench[known](id);
  } else {
    throw new Refusal(404, 'no such button');
  }
}

async function switchFault({ faults, ledger }: Workbench, fault: Fault, on: boolean): Promise<void> {
  if (faults.set(fault, on))
    await ledger.add({ at: Date.now(), event: on ? 'fault.on' : 'fault.off', fault });
}

function historyOf(path: string, { ledger }: Workbench): { history: readonly FleetEvent[] } {
  const [, what, id = ''] = path.split('/');
  if (what !== 'devices' || !ledger.devices.has(id)) throw new Refusal(404, 'there is nothing here');
  return { history: ledger.historyOf(id) };
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { ...headers, 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function faultViews({ faults }: Workbench): FaultView[] {
  return Object.entries(catalogue).map(([name, texts]) => ({
    ...{ name, ...texts },
    isOn: isFault(name) && faults.active.has(name),
  }));
}

/** Server-sent events: everything at first, then what changes. A viewer that comes back starts anew. */
function createStream(workbench: Workbench) {
  const { ledger, urls, fingerprint } = workbench;
  const viewers = new Set<ServerResponse>();
  const changed = new Set<string>();
  let events: FleetEvent[] = [];
  let timer: NodeJS.Timeout | undefined;

  function tell(): void {
    clearTimeout(timer);
    timer = undefined;
    const devices = [...changed].flatMap((id) => ledger.devices.get(id) ?? []);
    send('change', { devices, events, faults: faultViews(workbench) } satisfies Change, viewers);
    changed.clear();
    events = [];
  }
  const end = ledger.onEvent((event) => {
    if ('id' in event && event.id !== undefined) changed.add(event.id);
    events.push(event);
    timer ??= setTimeout(tell, tellEveryMs);
  });
  const alive = setInterval(() => {
    for (const viewer of viewers) viewer.write(':\n\n');
  }, aliveEveryMs).unref();
  return {
    tell,
    open(response: ServerResponse): void {
      if (viewers.size >= mostViewers) throw new Refusal(503, 'too many viewers');
      response.writeHead(200, { ...headers, 'content-type': 'text/event-stream' });
      response.write('retry: 1000\n');
      const snapshot: Snapshot = {
        line: `ONBOARDD_PROVISIONING_URL=${urls.http}`,
        pin: `ONBOARDD_PROVISIONING_FLEET_CA_FINGERPRINT=${fingerprint}`,
        urls,
        isOpenToOthers: workbench.isOpenToOthers,
        devices: [...ledger.devices.values()],
        events: [...ledger.historyOf()],
        faults: faultViews(workbench),
      };
      send('snapshot', snapshot, [response]);
      viewers.add(response);
      response.once('close', () => viewers.delete(response));
    },
    stop(): void {
      end();
      clearInterval(alive);
      clearTimeout(timer);
    },
  };
}

function send(name: string, body: unknown, viewers: Iterable<ServerResponse>): void {
  const text = `event: ${name}\ndata: ${JSON.stringify(body)}\n\n`;
  for (const viewer of viewers) viewer.write(text);
}
