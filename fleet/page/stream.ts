import type { ServerResponse } from 'node:http';
import type { FleetEvent } from '../device.ts';
import { faults as catalogue, isFault } from '../faultCatalogue.ts';
import { mostHistory } from '../ledger.ts';
import type { Workbench } from '../workbench.ts';
import { pageHeaders } from './headers.ts';
import type { Change, FaultView, Snapshot } from './view.ts';

/** Changes are told together, so often at most, ms. */
const tellEveryMs = 200;
const aliveEveryMs = 15_000;
export const mostViewers = 50;

/** What has changed since a viewer was last told. */
interface News {
  readonly devices: Set<string>;
  /** the latest */
  events: FleetEvent[];
}

interface Viewer {
  readonly response: ServerResponse;
  readonly address: string;
  /** What it missed while it takes nothing; undefined as long as it keeps up. */
  missed: News | undefined;
  /** Lets it go, unless it takes something before. */
  late?: NodeJS.Timeout;
}

export interface Stream {
  /** Tells all viewers now. */
  tell(): void;
  /** Takes a viewer; one too many takes the place of another. @param address of its machine */
  open(response: ServerResponse, address: string): void;
  stop(): void;
}

/**
 * Server-sent events: everything at first, then what changes. A viewer that comes back starts anew. One that does not keep
 * up is told nothing until it has taken what was sent, and then the latest of each device that changed.
 *
 * @param patienceMs how long a viewer may take nothing until it is let go
 */
export function createStream(workbench: Workbench, { patienceMs = 60_000 }: { patienceMs?: number }): Stream {
  const { ledger } = workbench;
  const viewers = new Set<Viewer>();
  let news = noNews();
  let timer: NodeJS.Timeout | undefined;

  function tell(): void {
    clearTimeout(timer);
    timer = undefined;
    const text = changeOf(workbench, news);
    for (const viewer of viewers) {
      if (viewer.missed === undefined) write(viewer, text);
      else addTo(viewer.missed, news);
    }
    news = noNews();
  }

  function write(viewer: Viewer, text: string): void {
    const { response } = viewer;
    if (response.write(text)) return;
    viewer.missed = noNews();
    viewer.late = setTimeout(() => response.destroy(), patienceMs).unref();
    response.once('drain', () => {
      clearTimeout(viewer.late);
      const { missed } = viewer;
      viewer.missed = undefined;
      if (missed !== undefined && missed.events.length > 0) write(viewer, changeOf(workbench, missed));
    });
  }

  /** Lets the longest standing viewer of the machine with the most viewers go, so that none locks out another. */
  function displaceOne(newcomer: string): void {
    const counts = new Map([[newcomer, 1]]);
    for (const { address } of viewers) counts.set(address, (counts.get(address) ?? 0) + 1);
    const most = Math.max(...counts.values());
    const crowded = (address: string) => counts.get(address) === most;
    const [oldest] = [...viewers].filter(({ address }) => crowded(address));
    if (oldest === undefined) return;
    viewers.delete(oldest);
    const { response, missed } = oldest;
    if (missed !== undefined) response.destroy();
    else response.end('event: displaced\ndata: {}\n\n');
  }

  const end = ledger.onEvent((event) => {
    if ('id' in event && event.id !== undefined) news.devices.add(event.id);
    news.events.push(event);
    timer ??= setTimeout(tell, tellEveryMs);
  });
  const alive = setInterval(() => {
    for (const viewer of viewers) if (viewer.missed === undefined) write(viewer, ':\n\n');
  }, aliveEveryMs).unref();
  return {
    tell,
    open(response, address) {
      if (viewers.size >= mostViewers) displaceOne(address);
      response.writeHead(200, { ...pageHeaders, 'content-type': 'text/event-stream', connection: 'close' });
      const viewer: Viewer = { response, address, missed: undefined };
      write(viewer, `retry: 1000\n${snapshotOf(workbench)}`);
      viewers.add(viewer);
      response.once('close', () => {
        clearTimeout(viewer.late);
        viewers.delete(viewer);
      });
    },
    stop() {
      end();
      clearInterval(alive);
      clearTimeout(timer);
    },
  };
}

function noNews(): News {
  return { devices: new Set(), events: [] };
}

function addTo(missed: News, { devices, events }: News): void {
  for (const id of devices) missed.devices.add(id);
  missed.events = [...missed.events, ...events].slice(-mostHistory);
}

function changeOf(workbench: Workbench, { devices: ids, events }: News): string {
  const devices = [...ids].flatMap((id) => workbench.ledger.devices.get(id) ?? []);
  const change: Change = { devices, events: events.slice(-mostHistory), faults: faultViews(workbench) };
  return textOf('change', change);
}

function snapshotOf(workbench: Workbench): string {
  const { ledger, urls, fingerprint, isOpenToOthers } = workbench;
  const snapshot: Snapshot = {
    line: `ONBOARDD_PROVISIONING_URL=${urls.http}`,
    pin: `ONBOARDD_PROVISIONING_FLEET_CA_FINGERPRINT=${fingerprint}`,
    ...{ urls, isOpenToOthers },
    devices: [...ledger.devices.values()],
    events: [...ledger.historyOf()],
    faults: faultViews(workbench),
  };
  return textOf('snapshot', snapshot);
}

function faultViews({ faults }: Workbench): FaultView[] {
  return Object.entries(catalogue).map(([name, texts]) => ({
    ...{ name, ...texts },
    isOn: isFault(name) && faults.active.has(name),
  }));
}

function textOf(name: string, body: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(body)}\n\n`;
}
