import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { statechart } from '../../../scripts/statechart.ts';
import { type LiveMachine, type Moment, startMachine } from './liveMachine.ts';
import { pageOf } from './page.ts';

/**
 * Serves the page at `/` and the machine's moments as server-sent events at `/events`, on a free port of 127.0.0.1. The
 * device powers on when the first page listens; later pages get all moments from the beginning.
 */
export async function serveMachine(provisioningUrl: string) {
  const page = pageOf(statechart());
  const moments: Moment[] = [];
  const listeners = new Set<ServerResponse>();
  let machine: LiveMachine | null = null;

  const send = (response: ServerResponse, moment: Moment) =>
    response.write(`data: ${JSON.stringify(moment)}\n\n`);

  const server = createServer((request, response) => {
    if (request.url === '/') {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page);
    } else if (request.url === '/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      response.flushHeaders();
      for (const moment of moments) send(response, moment);
      listeners.add(response);
      response.once('close', () => listeners.delete(response));
      machine ??= startMachine(provisioningUrl, (moment) => {
        moments.push(moment);
        for (const listener of listeners) send(listener, moment);
      });
    } else response.writeHead(404).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async stop() {
      machine?.stop();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
