import { pairs } from '../../services/fleetReport/deviceTimes.ts';
import type { Report } from '../../services/fleetReport/report.ts';
import { escapeText } from './escapeText.ts';
import { type Axis, drawnAxis, pageAxis, toBars } from './reportPageAxis.ts';

/** One strip of bars over time. */
interface Strip {
  readonly name: string;
  readonly kind: 'code' | 'version' | 'registered';
  readonly counts: readonly number[];
  readonly total: number;
  /** How many devices */
  readonly devices: number;
}

const mostStrips = 6;
const mostNotable = 3;
const fewestDevices = 5;
const height = 34;

/** Failures by code and by version over time, and registrations: an outage or a bad build shows as a block of bars. */
export function timelineSection(report: Report): string {
  const made = stripsAndTime(report);
  if (made === null) return '<p>No line with a time to be believed.</p>';
  const { strips, time } = made;
  if (strips.length === 0) return '<p>No failure, and no registration.</p>';
  const drawn = strips.map((strip) => drawStrip(strip, time));
  const scope =
    '<p class="note scope" role="status" hidden><span></span> <button type="button">show all</button></p>';
  return `${notable(report, strips, time)}${scope}<div id="strips">${drawn.join('')}${axisOf(time)}${timelineTable(strips, time)}</div>`;
}

/** The largest burst of one code, from and until, milliseconds since 1970; null: none stands out. */
export function eventOf(report: Report): readonly [from: number, to: number] | null {
  const made = stripsAndTime(report);
  const [largest] = made === null ? [] : burstsOf(made.strips, made.time);
  return largest === undefined ? null : [largest.from, largest.to];
}

function stripsAndTime(report: Report): { strips: Strip[]; time: Axis } | null {
  const axis = pageAxis(report);
  if (axis === null) return null;
  const time = drawnAxis(axis);
  return { strips: stripsOf(report, time), time };
}

const ticks = 5;

function axisOf({ begin, barMs, bars }: Axis): string {
  const spans = Array.from({ length: ticks }, (_, index) => {
    const at = begin + (index / (ticks - 1)) * bars * barMs;
    return `<span>${moment(at)}</span>`;
  });
  return `<p class="axis" aria-hidden="true">${spans.join('')}</p>`;
}

const mostRows = 24;

/** The same in numbers, for who cannot see the bars. */
function timelineTable(strips: readonly Strip[], { begin, barMs, bars }: Axis): string {
  const shown = strips.filter(({ kind }) => kind !== 'version');
  const perRow = Math.ceil(bars / mostRows);
  const rows = Array.from({ length: Math.ceil(bars / perRow) }, (_, row) => {
    const cells = shown.map(({ counts }) =>
      counts.slice(row * perRow, (row + 1) * perRow).reduce((sum, amount) => sum + amount, 0),
    );
    return `<tr><th scope="row">${moment(begin + row * perRow * barMs)}</th>${cells.map((amount) => `<td class="n">${amount.toLocaleString('en-US')}</td>`).join('')}</tr>`;
  });
  const head = shown.map(({ name }) => `<th scope="col" class="n">${escapeText(name)}</th>`).join('');
  return `<details><summary>as a table</summary><div class="wide-table" tabindex="0" role="region" aria-label="Failures over time, as a table"><table><thead><tr><th scope="col">from (UTC)</th>${head}</tr></thead><tbody>${rows.join('')}</tbody></table></div></details>`;
}

function stripsOf(report: Report, time: Axis): Strip[] {
  const { bucketMs, counts } = report.timeline;
  const devices = devicesOf(report, time);
  const strip = (kind: Strip['kind'], name: string, entries: Iterable<readonly [number, number]>): Strip => {
    const found = toBars(time, bucketMs, entries);
    const bars = Array.from({ length: time.bars }, (_, bar) => found.get(bar) ?? 0);
    const total = bars.reduce((sum, amount) => sum + amount, 0);
    return { name, kind, counts: bars, total, devices: devices.get(`${kind} ${name}`) ?? 0 };
  };
  const byCode: Strip[] = [];
  const byVersion = new Map<string, (readonly [number, number])[]>();
  for (const [name, versions] of counts) {
    const all = [...versions.values()].flatMap((buckets) => [...buckets]);
    byCode.push(strip(name === 'registered' ? 'registered' : 'code', name, all));
    if (name === 'registered') continue;
    for (const [version, buckets] of versions)
      byVersion.set(version, [...(byVersion.get(version) ?? []), ...buckets]);
  }
  const versions = [...byVersion]
    .filter(([version]) => version !== '')
    .map(([version, entries]) => strip('version', version, entries));
  const top = (strips: readonly Strip[]) =>
    strips
      .filter(({ total }) => total > 0)
      .sort((a, b) => b.total - a.total || (a.name < b.name ? -1 : 1))
      .slice(0, mostStrips);
  return [
    ...top(byCode.filter(({ kind }) => kind === 'code')),
    ...top(versions),
    ...top(byCode.filter(({ kind }) => kind === 'registered')),
  ];
}

/** Kind and name of a strip → how many devices */
function devicesOf({ devices, deviceBucketMs }: Report, time: Axis): Map<string, number> {
  const all = new Map<string, number>();
  for (const { times } of devices) {
    const seen = times.filter(({ counts }) => toBars(time, deviceBucketMs, pairs(counts)).size > 0);
    const keys = seen.flatMap(({ what, version }) =>
      what === 'registered' ? ['registered registered'] : [`code ${what}`, `version ${version}`],
    );
    for (const key of new Set(keys)) all.set(key, (all.get(key) ?? 0) + 1);
  }
  return all;
}

/** When most of a strip happened, and whether that stands out. */
function burstOf({ kind, counts, total }: Pick<Strip, 'kind' | 'counts' | 'total'>, { begin, barMs }: Axis) {
  const [from, to, inside] = busiest(counts);
  const part = Math.round((100 * inside) / total);
  const times = { from: begin + from * barMs, to: begin + (to + 1) * barMs };
  const when = `${moment(times.from)} to ${moment(times.to)}`;
  const isEvent = kind !== 'registered' && part >= 50 && to - from + 1 <= counts.length / 3 && inside >= 20;
  return { part, when, isEvent, inside, ...times };
}

function drawStrip({ name, kind, counts, total, devices }: Strip, time: Axis): string {
  const { begin, barMs } = time;
  const peak = Math.max(...counts);
  const width = 100 / counts.length;
  const rects = counts.flatMap((amount, index) => {
    if (amount === 0) return [];
    const tall = Math.max(1.5, (amount / peak) * height);
    const title = `${moment(begin + index * barMs)}: ${amount.toLocaleString('en-US')}`;
    return [
      `<rect x="${(index * width).toFixed(2)}" y="${(height - tall).toFixed(1)}" width="${(width * 0.86).toFixed(2)}" height="${tall.toFixed(1)}"><title>${title}</title></rect>`,
    ];
  });
  const { part, when, isEvent } = burstOf({ kind, counts, total }, time);
  const label = kind === 'version' ? `failures of version ${name}` : name;
  const link =
    kind === 'registered'
      ? '<b>registered</b>'
      : `<a href="#${kind}=${encodeURIComponent(name)}">${escapeText(label)}</a>`;
  const amount = `${total.toLocaleString('en-US')} on ${devices.toLocaleString('en-US')} ${devices === 1 ? 'device' : 'devices'}`;
  const told = `${amount}${isEvent ? `; <em>${part} % from ${when}</em>` : ''}`;
  const spoken = `${label}: ${amount}, ${part} % of them from ${when}`;
  return `<figure class="strip t-${kind}"><figcaption>${link}<span>${told}</span></figcaption><svg viewBox="0 0 100 ${height}" preserveAspectRatio="none" role="img" aria-label="${escapeText(spoken)}">${rects.join('')}</svg></figure>`;
}

/** The bars around the highest one that are at least a tenth as high: first, last, and what they sum up to. */
function busiest(counts: readonly number[]): [from: number, to: number, inside: number] {
  const peak = counts.indexOf(Math.max(...counts));
  const least = (counts[peak] ?? 0) / 10;
  let [from, to] = [peak, peak];
  while (from > 0 && (counts[from - 1] ?? 0) >= least) from--;
  while (to < counts.length - 1 && (counts[to + 1] ?? 0) >= least) to++;
  return [from, to, counts.slice(from, to + 1).reduce((sum, amount) => sum + amount, 0)];
}

function moment(ms: number): string {
  return new Date(ms).toISOString().slice(5, 16).replace('T', ' ');
}

/** Codes of which most failures lie close together, the largest burst first. */
function burstsOf(strips: readonly Strip[], time: Axis) {
  return strips
    .filter(({ kind }) => kind === 'code')
    .map((strip) => ({ name: strip.name, ...burstOf(strip, time) }))
    .filter(({ isEvent }) => isEvent)
    .sort((a, b) => b.inside - a.inside);
}

/** What stands out, in words: bad builds, and the largest bursts of one code. */
function notable(report: Report, strips: readonly Strip[], time: Axis): string {
  const builds = [...report.versions]
    .filter(([version]) => isWorse(report, version))
    .map(
      ([version, { devices, failures }]) =>
        `<li><a href="#version=${encodeURIComponent(version)}">version ${escapeText(version)}</a> fails more than the others: ${(failures / devices).toFixed(1)} failures a device</li>`,
    );
  const bursts = burstsOf(strips, time)
    .slice(0, mostNotable)
    .map(
      ({ name, inside, when }) =>
        `<li><a href="#code=${encodeURIComponent(name)}">${escapeText(name)}</a>: ${inside.toLocaleString('en-US')} failures from ${when}</li>`,
    );
  return builds.length + bursts.length === 0
    ? ''
    : `<ul class="notable">${[...builds, ...bursts].join('')}</ul>`;
}

/** Twice as many failures a device as the other versions together, and one more. */
function isWorse({ versions }: Report, version: string): boolean {
  const own = versions.get(version);
  if (own === undefined || version === '' || own.devices < fewestDevices) return false;
  const others = [...versions].filter(([name]) => name !== version).map(([, counts]) => counts);
  const devices = others.reduce((sum, one) => sum + one.devices, 0);
  const failures = others.reduce((sum, one) => sum + one.failures, 0);
  return devices > 0 && own.failures / own.devices > (2 * failures) / devices + 1;
}

/** A version that fails more often than the others together is marked. */
export function versionTable(report: Report): string {
  const { versions } = report;
  if ([...versions.keys()].every((version) => version === ''))
    return '<p class="note">The lines name no version.</p>';
  const rows = [...versions].map(([version, { devices, registered, failing, failures }]) => {
    const isBad = isWorse(report, version);
    const name = version === '' ? 'unknown' : version;
    return `<tr${isBad ? ' class="worse"' : ''}><th scope="row"><a href="#version=${encodeURIComponent(version)}">${escapeText(name)}</a>${isBad ? ' <em>fails more than the others</em>' : ''}</th>${[
      devices.toLocaleString('en-US'),
      percent(registered, devices),
      percent(failing, devices),
      (failures / devices).toFixed(1),
    ]
      .map((text) => `<td class="n">${text}</td>`)
      .join('')}</tr>`;
  });
  const head = ['devices', 'registered', 'failed once', 'failures each'];
  return `<table class="versions"><thead><tr><th scope="col">version</th>${head.map((text) => `<th scope="col" class="n">${text}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

function percent(part: number, all: number): string {
  return `${((100 * part) / all).toFixed(1)} %`;
}
