import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { get, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Device, FleetEvent } from '../../../fleet/device.ts';
import { type Ledger, openLedger } from '../../../fleet/ledger.ts';
import { type Page, startPage } from '../../../fleet/page/server.ts';
import { createStream, mostViewers } from '../../../fleet/page/stream.ts';
import type { Workbench } from '../../../fleet/workbench.ts';
import { temporaryFolder } from '../../support/program.ts';

let ledger: Ledger;
let workbench: Workbench;
let page: Page;
beforeEach(async () => {
  ledger = await openLedger(join(temporaryFolder(), 'history.jsonl'));
  const assets = temporaryFolder();
  for (const name of ['index.html', 'app.js', 'style.css']) writeFileSync(join(assets, name), '');
  // What the page needs of a workbench; only its ledger is at work here.
  workbench = {
    ...{ ledger, hosts: ['127.0.0.1'], urls: { http: '', https: '', nats: '' }, fingerprint: '' },
    ...{ isOpenToOthers: false, token: 'secret', faults: { active: new Set(), set: () => false } },
  } as unknown as Workbench;
  page = await startPage({ workbench, assets, host: '127.0.0.1', port: 0 });
});
afterEach(async () => {
  await page.stop();
  await ledger.close();
});

interface Viewer {
  response: IncomingMessage;
  /** bytes that have come */
  bytes: number;
  /** Resolves once what has come holds this. */
  until(text: string): Promise<void>;
}

/** A viewer of the page, which reads only once it is told to wait for something. */
async function view(localAddress = '127.0.0.1'): Promise<Viewer> {
  const [response] = (await once(
    get(new URL('/events', page.url), { localAddress, agent: false }),
    'response',
  )) as [IncomingMessage];
  response.on('error', () => undefined);
  const viewer: Viewer = {
    response,
    bytes: 0,
    until: (text) =>
      new Promise((resolve, reject) => {
        let tail = '';
        const look = (chunk: Buffer) => {
          viewer.bytes += chunk.length;
          const seen = tail + chunk;
          tail = seen.slice(-text.length);
          if (!seen.includes(text)) return;
          response.off('data', look);
          resolve();
        };
        response.on('data', look);
        response.once('close', () => reject(new Error(`closed before "${text}" came`)));
      }),
  };
  return viewer;
}

function add(id: string, alias: string): Promise<void> {
  const details = { deviceType: 'x'.repeat(4_000), architecture: '', buildVersion: '1' };
  return ledger.add({ at: Date.now(), event: 'registration.accepted', id, alias, ...details });
}

/** Tells all viewers now what has changed, as pushing a button does. */
async function tell(): Promise<void> {
  const headers = { authorization: 'Bearer secret', 'content-type': 'application/json' };
  const response = await fetch(new URL('/recover', page.url), { method: 'POST', headers, body: '{}' });
  expect(response.status).toBe(204);
}

test('a viewer that reads nothing for a while costs no memory by what it missed, and hears the latest of each device', async () => {
  const slow = await view();
  const fast = await view();
  const isUpToDate = fast.until('"alias":"the last"');
  for (let round = 0; round < 40; round++) {
    for (let number = 0; number < 200; number++) add(`device-${number}`, `round ${round}`);
    await tell();
  }
  await add('device-7', 'the last');
  await tell();
  await isUpToDate;
  await slow.until('"alias":"the last"');
  expect(fast.bytes).toBeGreaterThan(30_000_000);
  // What the kernel had taken, and one change with all devices.
  expect(slow.bytes).toBeLessThan(fast.bytes / 2);
});

test('a machine with many silent viewers locks out neither another machine nor itself', async () => {
  const silent = await Promise.all(Array.from({ length: mostViewers + 10 }, () => view()));
  const other = await view('127.0.0.2');
  await other.until('event: snapshot');
  const own = await view();
  await own.until('event: snapshot');
  await Promise.all(Array.from({ length: 10 }, () => view()));
  await add('device-1', 'still told');
  await tell();
  await other.until('still told');
  await silent[0]?.until('event: displaced');
});

test('a viewer that takes nothing for too long is let go, and one that reads stays', async () => {
  const stream = createStream(workbench, { patienceMs: 50 });
  const responseOf = (write: Writable['_write']) =>
    Object.assign(new Writable({ write }), { writeHead: () => undefined }) as unknown as ServerResponse;
  const stuck = responseOf(() => undefined);
  const heard: string[] = [];
  const reading = responseOf((chunk, _encoding, done) => {
    heard.push(String(chunk));
    done();
  });
  stream.open(stuck, '192.0.2.1');
  stream.open(reading, '192.0.2.2');
  const gone = once(stuck, 'close');
  await add('device-1', 'y'.repeat(300));
  for (let number = 0; number < 50; number++) await add(`device-${number}`, 'first');
  stream.tell();
  await gone;
  await add('device-1', 'second');
  stream.tell();
  expect(heard.at(-1)).toContain('second');
  expect(reading.destroyed).toBe(false);
  stream.stop();
});

test('what a viewer missed is told once, with the state that a device has then', async () => {
  const stream = createStream(workbench, {});
  const heard: string[] = [];
  let release: () => void = () => undefined;
  const response = Object.assign(
    new Writable({
      highWaterMark: 1,
      write(chunk, _encoding, done) {
        heard.push(String(chunk));
        release = done;
      },
    }),
    { writeHead: () => undefined },
  ) as unknown as ServerResponse;
  stream.open(response, '192.0.2.1');
  for (const alias of ['first', 'second', 'third']) {
    await add('device-1', alias);
    stream.tell();
  }
  while (!heard.some((text) => text.startsWith('event: change'))) {
    release();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const [change = ''] = heard.filter((text) => text.startsWith('event: change'));
  const { devices, events } = JSON.parse(change.slice(change.indexOf('{'))) as {
    devices: Device[];
    events: FleetEvent[];
  };
  expect(devices.map(({ alias }) => alias)).toEqual(['third']);
  expect(events.map((event) => 'alias' in event && event.alias)).toEqual(['first', 'second', 'third']);
  response.destroy();
  stream.stop();
});
