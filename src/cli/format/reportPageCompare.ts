import { pairs } from '../../services/fleetReport/deviceTimes.ts';
import type { DeviceStory, Report } from '../../services/fleetReport/report.ts';
import { pageAxis, toBars } from './reportPageAxis.ts';
import { eventOf } from './reportPageTimeline.ts';

/** Two periods next to each other: the page's script fills the table, from what `compareData` gives it. */
export function compareSection(report: Report): string {
  if (report.first === null) return '';
  const field = (name: string, label: string) =>
    `<label>${label}<input type="datetime-local" name="${name}" required></label>`;
  const period = (name: string, title: string) =>
    `<fieldset><legend>${title} (UTC)</legend>${field(`${name}From`, 'from')}${field(`${name}To`, 'until')}</fieldset>`;
  return `<section id="compare" tabindex="-1"><h2>Compare two periods</h2>
<form>${period('first', 'first period')}${period('second', 'second period')}<div class="presets"><button type="button" data-preset="event" hidden>the largest event, and before</button><button type="button" data-preset="halves">first and second half</button></div></form>
<noscript><p>The comparison needs JavaScript.</p></noscript>
<p class="told" role="status"></p>
<table class="compare" hidden><caption>Failures and registrations an hour, and on how many devices, in the two periods</caption><thead><tr><th scope="col">what</th><th scope="col" class="n">first</th><th scope="col" class="n">second</th><th scope="col">change</th></tr></thead><tbody></tbody></table></section>`;
}

/**
 * Failures and registrations over time for the page's script: rows of `[what, version, bar, count, bar, count, ...]`, `what`
 * as an index of `codes`, -1 for `registered`; `perDrawn` bars make one that is drawn. `others`: `timesOf` the devices that
 * are not listed.
 */
export function compareData(
  report: Report,
  { codes, versions }: Names,
  others: readonly DeviceStory[],
): unknown {
  const axis = pageAxis(report);
  if (axis === null) return null;
  const { timeline } = report;
  const rows = [...timeline.counts].flatMap(([name, byVersion]) =>
    [...byVersion].map(([version, all]) => [
      codes.indexOf(name),
      version,
      ...inOrder(toBars(axis.fine, timeline.bucketMs, all)),
    ]),
  );
  const all = others.map((device) => timesOf(report, device, { codes, versions }));
  const { fine, perDrawn } = axis;
  return { ...fine, perDrawn, event: eventOf(report), rows, others: all };
}

/** What the page's data has by its index. */
export interface Names {
  readonly codes: readonly string[];
  readonly versions: readonly string[];
}

/** One device over time: lists of `[what, version, bar, count, bar, count, ...]`, both names by their index, -1 for `registered`. */
export function timesOf(report: Report, { times }: DeviceStory, { codes, versions }: Names): number[][] {
  const axis = pageAxis(report);
  if (axis === null) return [];
  return times
    .map(({ what, version, counts }) => [
      codes.indexOf(what),
      versions.indexOf(version),
      ...inOrder(toBars(axis.fine, report.deviceBucketMs, pairs(counts))),
    ])
    .filter(({ length }) => length > 2)
    .sort(([what = 0, version = 0], [other = 0, another = 0]) => what - other || version - another);
}

function inOrder(bars: ReadonlyMap<number, number>): number[] {
  return [...bars].sort(([a], [b]) => a - b).flat();
}

export const compareScript = `
(() => {
  const { codes, versions, times, devices } = JSON.parse(document.getElementById('data').textContent);
  const root = document.getElementById('compare');
  if (!times || !root) return;
  const [form, told, table, event] = ['form', '.told', 'table', '[data-preset=event]'].map((name) => root.querySelector(name));
  const { begin, barMs, bars, rows } = times;
  const end = begin + bars * barMs;
  const names = ['first', 'second'];
  const inputs = (name) => [form.elements[name + 'From'], form.elements[name + 'To']];
  const minute = (ms) => new Date(ms).toISOString().slice(0, 16);
  const bounds = (name) => inputs(name).map((input) => Date.parse(input.value + 'Z'));
  const set = (name, from, to) => inputs(name).forEach((input, index) => { input.value = minute(index ? to : from); });
  const presets = {
    halves: () => { const half = begin + Math.ceil(bars / 2) * barMs; set('first', begin, half); set('second', half, end); },
    event: () => { const [from, to] = times.event; set('first', Math.max(begin, 2 * from - to), from); set('second', from, to); },
  };
  const keysOf = (what, version) => (what < 0 ? ['registered'] : ['all failures', 'code ' + codes[what], ...(version ? ['version ' + version] : [])]);
  // The last column of a device is its times.
  const each = [...devices.map((device) => device[device.length - 1]), ...times.others];
  /** What happened in a period: how often, and on how many devices. */
  const sums = (from, to) => {
    const all = new Map();
    const of = (key) => all.get(key) || all.set(key, { amount: 0, devices: 0 }).get(key);
    const isIn = (bar) => begin + bar * barMs >= from && begin + bar * barMs < to;
    for (const [what, version, ...counts] of rows)
      for (let index = 0; index < counts.length; index += 2)
        if (isIn(counts[index])) for (const key of keysOf(what, version)) of(key).amount += counts[index + 1];
    for (const own of each) {
      const keys = new Set();
      for (const [what, version, ...counts] of own)
        if (counts.some((bar, index) => index % 2 === 0 && isIn(bar))) for (const key of keysOf(what, versions[version])) keys.add(key);
      for (const key of keys) of(key).devices++;
    }
    return all;
  };
  const cell = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.textContent = text;
    return element;
  };
  const rate = (value) => (value === 0 || value >= 9.95 ? Math.round(value).toLocaleString('en-US') : value.toFixed(value < 0.095 ? 2 : 1));
  const change = (one, two) => {
    if (one === two) return ['', 'the same'];
    if (one === 0) return ['up', 'only in the second'];
    if (two === 0) return ['down', 'only in the first'];
    const ratio = two / one;
    if (ratio > 0.8 && ratio < 1.25) return ['', 'about the same'];
    return ratio > 1 ? ['up', rate(ratio) + ' times as many'] : ['down', 'down to ' + Math.round(100 * ratio) + ' %'];
  };
  const look = () => {
    const periods = names.map(bounds);
    const wrong = periods.some(([from, to]) => !(to > from));
    table.hidden = wrong;
    told.textContent = wrong
      ? 'Each period needs a beginning and a later end.'
      : 'Counted in steps of ' + (barMs >= 3600000 ? (barMs / 3600000).toFixed(1).replace('.0', '') + ' h' : barMs / 60000 + ' min') + '; the numbers are per hour, and devices that had any.';
    if (wrong) return;
    const [one, two] = periods.map(([from, to]) => sums(from, to));
    const [hours, others] = periods.map(([from, to]) => (to - from) / 3600000);
    const none = { amount: 0, devices: 0 };
    const list = [...new Set([...one.keys(), ...two.keys()])].map((key) => {
      const [first, second] = [one.get(key) || none, two.get(key) || none];
      return [key, first.amount / hours, second.amount / others, first.devices, second.devices];
    });
    const figure = (value, some) => {
      const data = cell('td', 'n', rate(value));
      if (some) data.append(' ', cell('small', '', some.toLocaleString('en-US') + (some === 1 ? ' device' : ' devices')));
      return data;
    };
    const rank = ([key]) => (key === 'all failures' ? 0 : key.startsWith('code ') ? 1 : key.startsWith('version ') ? 2 : 3);
    list.sort((a, b) => rank(a) - rank(b) || b[1] + b[2] - a[1] - a[2] || (a[0] < b[0] ? -1 : 1));
    table.tBodies[0].replaceChildren(...list.map(([key, first, second, some, more]) => {
      const row = document.createElement('tr');
      const [kind, text] = change(first, second);
      const head = cell('th', '', '');
      head.scope = 'row';
      const [, filter, value] = /^(code|version) (.*)$/.exec(key) || [];
      if (filter) {
        const link = cell('a', '', filter === 'version' ? 'failures of version ' + value : value);
        link.href = '#' + new URLSearchParams([[filter, value]]);
        head.append(link);
      } else head.textContent = key;
      row.append(head, figure(first, some), figure(second, more), cell('td', kind && (key === 'registered') !== (kind === 'up') ? 'bad' : '', text));
      return row;
    }));
    table.hidden = list.length === 0;
    if (list.length === 0) told.textContent = 'No failure, and no registration, in either of them.';
  };
  const toHash = () => {
    const filter = new URLSearchParams(location.hash.slice(1));
    filter.delete('devices');
    for (const name of names) filter.set(name, inputs(name).map((input) => input.value).join('/'));
    history.replaceState(null, '', '#' + filter);
  };
  const fromHash = () => {
    const filter = new URLSearchParams(location.hash.slice(1));
    const isTold = names.map((name) => {
      const [from, to] = (filter.get(name) || '').split('/').map((text) => Date.parse(text + 'Z'));
      if (to > from) set(name, from, to);
      return to > from;
    });
    if (!isTold.every(Boolean) && !form.elements.firstFrom.value) presets[times.event ? 'event' : 'halves']();
    look();
    if (isTold.some(Boolean) && !['text', 'host', 'state', 'standing', 'code', 'version'].some((name) => filter.has(name))) root.scrollIntoView();
  };
  event.hidden = !times.event;
  form.addEventListener('input', () => { toHash(); look(); });
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('click', ({ target }) => {
    if (!target.dataset.preset) return;
    presets[target.dataset.preset]();
    toHash();
    look();
  });
  addEventListener('hashchange', fromHash);
  fromHash();
})();
`;
