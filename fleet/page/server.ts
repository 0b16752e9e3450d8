import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { hostAndPort } from '../addresses.ts';
import { WorkbenchError } from '../dataDirectory.ts';
import type { FleetEvent } from '../device.ts';
import { type Fault, isFault } from '../faultCatalogue.ts';
import type { Workbench } from '../workbench.ts';
import { pageHeaders } from './headers.ts';
import { createStream } from './stream.ts';

const mostBytes = 4_096;
const operations = ['revoke', 'restore', 'forget'] as const;

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
  const stream = createStream(workbench, {});

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    checkHost(request, workbench.hosts);
    const { pathname: path } = new URL(request.url ?? '/', 'http://page');
    const file = files.get(path);
    if (request.method === 'POST') {
      await operate(path, await jsonOf(request), workbench);
      stream.tell();
      response.writeHead(204, pageHeaders).end();
    } else if (request.method !== 'GET') {
      throw new Refusal(405, 'only GET and POST');
    } else if (file !== undefined) {
      response.writeHead(200, { ...pageHeaders, 'content-type': file.type }).end(file.text);
    } else if (path === '/ca.crt') {
      response
        .writeHead(200, { ...pageHeaders, 'content-type': 'application/x-pem-file' })
        .end(workbench.ca.pem);
    } else if (path === '/events') {
      stream.open(response, request.socket.remoteAddress ?? '');
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
  response
    .writeHead(status, { ...pageHeaders, 'content-type': 'application/json' })
    .end(JSON.stringify(body));
}
