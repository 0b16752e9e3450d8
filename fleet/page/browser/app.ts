/** The live page: it draws what the server tells, and pushes buttons with the token of its address. */
import { html } from 'htm/preact';
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { Device, FleetEvent } from '../../device.ts';
import type { Change, FaultView, Snapshot } from '../view.ts';
import { ago, clock, sentenceOf, states, toneOf, until } from './text.ts';

const mostEvents = 100;
const shownEvents = 12;
/** A phone's page would be hundreds of screens long. */
const fewRows = 25;
const token = location.hash.slice(1);

interface Fleet extends Omit<Snapshot, 'devices'> {
  devices: Map<string, Device>;
}

interface Operations {
  isAllowed: boolean;
  post: (path: string, body?: object) => void;
}

function useFleet(onDisplaced: () => void): { fleet: Fleet | null; isLive: boolean } {
  const [fleet, setFleet] = useState<Fleet | null>(null);
  const [isLive, setLive] = useState(false);
  useEffect(() => {
    const source = new EventSource('/events');
    const on = <T>(name: string, take: (data: T) => void) =>
      source.addEventListener(name, (event) => take(JSON.parse((event as MessageEvent<string>).data)));
    source.onopen = () => setLive(true);
    source.onerror = () => setLive(false);
    on<Snapshot>('snapshot', (all) =>
      setFleet({ ...all, devices: new Map(all.devices.map((device) => [device.id, device])) }),
    );
    on<Change>('change', (change) => setFleet((before) => (before === null ? null : merged(before, change))));
    // Coming back by itself, it would displace the next.
    source.addEventListener('displaced', () => {
      source.close();
      setLive(false);
      onDisplaced();
    });
    return () => source.close();
  }, []);
  return { fleet, isLive };
}

function merged(before: Fleet, change: Change): Fleet {
  const devices = new Map(before.devices);
  for (const device of change.devices) devices.set(device.id, device);
  const events = [...before.events, ...change.events].slice(-mostEvents);
  return { ...before, devices, events, faults: change.faults };
}

function useNow(): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

function App() {
  const [problem, setProblem] = useState('');
  const { fleet, isLive } = useFleet(() =>
    setProblem('Too many pages are open: the workbench let this one go. Reload it to go on.'),
  );
  const [chosen, choose] = useState<string | null>(null);
  const [filter, setFilter] = useState('');
  const now = useNow();
  const operations: Operations = {
    isAllowed: token !== '' && isLive,
    post: (path, body = {}) => {
      push(path, body).then(
        () => setProblem(''),
        (error: Error) => setProblem(error.message),
      );
    },
  };
  if (fleet === null) return html`<p class="waiting" role="status">Waiting for the workbench …</p>`;
  const device = chosen === null ? undefined : fleet.devices.get(chosen);
  const faultsOn = fleet.faults.filter(({ isOn }) => isOn).length;
  return html`
    <header>
      <h1>Workbench fleet</h1>
      <span class="tag">not for production</span>
      ${faultsOn > 0 && html`<span class="tag bad">${faultsOn} ${faultsOn === 1 ? 'fault' : 'faults'} on</span>`}
      <span class=${`live ${isLive ? 'good' : 'bad'}`} role="status">${isLive ? 'live' : 'not connected'}</span>
    </header>
    <main>
      ${problem !== '' && html`<p class="problem" role="alert">${problem}</p>`}
      <div class="column">
        <${Connect} fleet=${fleet} />
        <${Devices} ...${{ fleet, now, filter, setFilter, chosen, choose }} />
      </div>
      <div class="column">
        <${Faults} faults=${fleet.faults} operations=${operations} />
        ${device && html`<${Detail} key=${device.id} ...${{ device, now, operations, choose }} />`}
        <${Activity} events=${fleet.events} choose=${choose} />
      </div>
    </main>
  `;
}

async function push(path: string, body: object): Promise<void> {
  const response = await fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
  if (!response.ok)
    throw new Error(`${response.status}: ${((await response.json()) as { error: string }).error}`);
}

function Connect({ fleet }: { fleet: Fleet }) {
  return html`<section class="connect" aria-labelledby="connect">
    <h2 id="connect">Connect a device</h2>
    <p>In <code>/etc/default/onboardd</code>, one line:</p>
    <${Line} text=${fleet.line} />
    <p>To trust this fleet only, a second one:</p>
    <${Line} text=${fleet.pin} />
    <details>
      <summary>Addresses and CA</summary>
      <dl>
        <dt>HTTP</dt><dd>${fleet.urls.http}</dd>
        <dt>HTTPS</dt><dd>${fleet.urls.https}</dd>
        <dt>NATS</dt><dd>${fleet.urls.nats}</dd>
        <dt>CA</dt><dd><a href="/ca.crt" download="workbench-ca.crt">ca.crt</a></dd>
      </dl>
      ${!fleet.isOpenToOthers && html`<p>Only this machine reaches it; <code>--listen 0.0.0.0</code> opens it.</p>`}
    </details>
  </section>`;
}

function Line({ text }: { text: string }) {
  const [isCopied, setCopied] = useState(false);
  const copy = () => navigator.clipboard.writeText(text).then(() => setCopied(true));
  // Browsers have a clipboard only for pages that nobody on the path can change.
  const button =
    window.isSecureContext && html`<button onClick=${copy}>${isCopied ? 'Copied' : 'Copy'}</button>`;
  return html`<div class="line"><code>${text}</code>${button}</div>`;
}

function Faults({ faults, operations }: { faults: FaultView[]; operations: Operations }) {
  const { isAllowed, post } = operations;
  const isAnyOn = faults.some(({ isOn }) => isOn);
  return html`<section class="misbehave" aria-labelledby="faults">
    <div class="title">
      <h2 id="faults">Misbehave on purpose</h2>
      <button class="recover" disabled=${!isAllowed || !isAnyOn} onClick=${() => post('/recover')}>Recover</button>
    </div>
    ${token === '' && html`<p>The buttons need the address with its token, as the terminal shows it.</p>`}
    <ul class="faults">
      ${faults.map(
        ({ name, label, meaning, device, isOn }) => html`<li key=${name} class=${isOn ? 'on' : ''}>
          <button
            role="switch"
            aria-checked=${isOn}
            disabled=${!isAllowed}
            onClick=${() => post('/faults', { fault: name, on: !isOn })}
          >
            <span class="knob" aria-hidden="true"></span>${label}
          </button>
          <p>${meaning} <span class="device">A device ${device}</span></p>
        </li>`,
      )}
    </ul>
  </section>`;
}

interface DevicesProps {
  fleet: Fleet;
  now: number;
  filter: string;
  setFilter: (text: string) => void;
  chosen: string | null;
  choose: (id: string | null) => void;
}

function Devices({ fleet, now, filter, setFilter, chosen, choose }: DevicesProps) {
  const [isWhole, showWhole] = useState(false);
  const all = [...fleet.devices.values()].sort((a, b) => b.since - a.since);
  const wanted = filter.trim().toLowerCase();
  const rows = all.filter(({ id, alias, state }) =>
    `${id} ${alias} ${state} ${states[state]}`.toLowerCase().includes(wanted),
  );
  const counts = Object.keys(states).map((state) => ({
    state,
    count: all.filter((device) => device.state === state).length,
  }));
  return html`<section class="fleet" aria-labelledby="devices">
    <div class="title">
      <h2 id="devices">Devices <span class="count">${all.length}</span></h2>
      <input
        type="search"
        placeholder="id, alias or state"
        aria-label="filter devices"
        value=${filter}
        onInput=${(event: Event) => setFilter((event.target as HTMLInputElement).value)}
      />
    </div>
    <p class="counts">
      ${counts
        .filter(({ count }) => count > 0)
        .map(
          ({ state, count }) =>
            html`<button key=${state} class=${`state ${state}`} onClick=${() =>
              setFilter(
                filter === state ? '' : state,
              )}>${states[state as Device['state']]} <b>${count}</b></button>`,
        )}
    </p>
    ${all.length === 0 && html`<p class="empty">No device yet. One that has the line above appears here by itself.</p>`}
    <ul class="devices">
      ${rows.slice(0, isWhole ? rows.length : fewRows).map(
        (device) => html`<li key=${device.id} class=${device.id === chosen ? 'chosen' : ''}>
          <button onClick=${() => choose(device.id === chosen ? null : device.id)} aria-expanded=${device.id === chosen}>
            <span class="head">
              <span class="name">${device.alias || device.id}</span>
              <span class=${`state ${device.state}`}>${states[device.state]}</span>
            </span>
            <${Fact} name="since" value=${ago(device.since, now)} />
            <${Fact} name="certificate" value=${device.certificate ? until(device.certificate.notAfter, now) : 'none'} />
            <${Fact} name="NATS" value=${device.isConnected ? 'connected' : 'not connected'} />
            <${Fact} name="last seen" value=${ago(device.lastSeen, now)} />
          </button>
        </li>`,
      )}
    </ul>
    ${!isWhole && rows.length > fewRows && html`<p><button class="more" onClick=${() => showWhole(true)}>Show ${rows.length - fewRows} more</button></p>`}
    ${rows.length === 0 && all.length > 0 && html`<p class="empty">None of them fits "${filter}".</p>`}
  </section>`;
}

function Fact({ name, value }: { name: string; value: string }) {
  return html`<span class="fact"><i>${name}</i> ${value}</span>`;
}

interface DetailProps {
  device: Device;
  now: number;
  operations: Operations;
  choose: (id: null) => void;
}

function Detail({ device, now, operations, choose }: DetailProps) {
  const { id, certificate } = device;
  const [history, setHistory] = useState<FleetEvent[]>([]);
  // On a phone it opens below the list.
  useEffect(() => document.querySelector('.detail')?.scrollIntoView({ block: 'nearest' }), []);
  useEffect(() => {
    fetch(`/devices/${encodeURIComponent(id)}`)
      .then((response) => response.json() as Promise<{ history: FleetEvent[] }>)
      .then((answer) => setHistory(answer.history))
      .catch(() => undefined);
  }, [id, device]);
  const button = (operation: string, label: string, isPossible: boolean) => html`<button
    disabled=${!operations.isAllowed || !isPossible}
    onClick=${() => operations.post(`/devices/${encodeURIComponent(id)}/${operation}`)}
  >${label}</button>`;
  return html`<section class="detail" aria-labelledby="detail">
    <div class="title">
      <h2 id="detail">${device.alias || 'Device'}</h2>
      <button onClick=${() => choose(null)}>Close</button>
    </div>
    <dl>
      <dt>id</dt><dd><code>${id}</code></dd>
      <dt>state</dt><dd>${states[device.state]}, since ${clock(device.since, now)}</dd>
      <dt>device</dt><dd>${[device.deviceType, device.architecture, device.buildVersion].filter(Boolean).join(', ') || 'not known yet'}</dd>
      <dt>address</dt><dd>${device.address || 'not known'}</dd>
      <dt>first seen</dt><dd>${clock(device.firstSeen, now)}</dd>
      <dt>certificate</dt>
      <dd>${certificate ? html`<code>${certificate.serial}</code><br />until ${clock(certificate.notAfter, now)} (${until(certificate.notAfter, now)})` : 'none'}</dd>
      <dt>certificates</dt><dd>${device.certificates} for ${device.keys} ${device.keys === 1 ? 'key' : 'keys'}</dd>
    </dl>
    <div class="buttons">
      ${button('revoke', 'Revoke', device.state !== 'revoked')}
      ${button('restore', 'Let in again', device.state === 'revoked')}
      ${button('forget', 'Forget', device.registrations > 0)}
    </div>
    <h3>History</h3>
    <ol class="events">
      ${history.toReversed().map((event) => html`<li class=${toneOf(event)}><time>${clock(event.at, now)}</time> ${sentenceOf(event)}</li>`)}
    </ol>
  </section>`;
}

function Activity({ events, choose }: { events: FleetEvent[]; choose: (id: string) => void }) {
  const shown = events.slice(-shownEvents).reverse();
  return html`<section class="activity" aria-labelledby="activity">
    <h2 id="activity">What happens</h2>
    <ol class="events" aria-live="polite">
      ${shown.map((event) => {
        const id = 'id' in event ? event.id : undefined;
        const who = id && html`<button class="who" onClick=${() => choose(id)}>${id.slice(0, 8)}</button> `;
        return html`<li class=${toneOf(event)}><time>${clock(event.at)}</time> ${who}${sentenceOf(event)}</li>`;
      })}
    </ol>
    ${shown.length === 0 && html`<p class="empty">Nothing yet.</p>`}
  </section>`;
}

const root = document.getElementById('app');
if (root) render(html`<${App} />`, root);
