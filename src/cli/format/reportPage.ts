import { stateNames } from '../../events.ts';
import { remedyOf } from '../../services/diagnostics/status.ts';
import { type Distribution, histogram, quantile } from '../../services/fleetReport/distribution.ts';
import {
  type DeviceStory,
  devicesThat,
  type ErrorCount,
  funnel,
  type Report,
  type Standing,
  standings,
  topErrors,
  topReasons,
} from '../../services/fleetReport/report.ts';
import { formatDuration } from '../../text/duration.ts';
import { escapeText } from './escapeText.ts';
import { chartScript } from './reportPageChart.ts';
import { compareData, compareScript, compareSection, timesOf } from './reportPageCompare.ts';
import { pageScript, pageStyle } from './reportPageParts.ts';
import { timelineSection, versionTable } from './reportPageTimeline.ts';

const script = chartScript + pageScript + compareScript;
/** More timelines would make the page too heavy for a phone. */
const mostTimelines = 10_000;
const mostListed = 50;
/** Upper edges of the histograms' bars, ms: a logarithmic axis, four bars a decade, from 10 ms to a day and beyond. */
const edges = Array.from({ length: 30 }, (_, index) => 10 * 10 ** ((index + 1) / 4));

/**
 * One self-contained page: it loads nothing, and its content security policy forbids it to.
 *
 * @param sha256 base64 of a text's SHA-256, for the one script that may run
 */
export function reportPage(report: Report, stuckAfterMs: number, sha256: (text: string) => string): string {
  const { devices, lines, foreign } = report;
  const [first, last] = [report.first ?? 0, report.last ?? 0];
  const still = devicesThat(report, 'stuck');
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${sha256(script)}'`;
  const span =
    devices.length > 0
      ? `<p class="span">${day(first)} to ${day(last)} UTC, ${formatDuration(last - first)}; ${count(lines - foreign)} events of ${count(lines)} lines</p>`
      : '<p class="span">no events of onboardd in the logs</p>';
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${escapeText(policy)}">
<title>onboardd report</title><style>${pageStyle}</style></head><body>
<a class="skip" href="#devices">to the devices</a>
<header><h1>Onboarding report</h1>${span}${noteOf(report)}<div class="tiles">${tiles(report, stuckAfterMs)}</div></header>
<main>
<section id="time" tabindex="-1"><h2>Failures over time</h2>${timelineSection(report)}</section>
<section><h2>Versions</h2>${versionTable(report)}</section>
${compareSection(report)}
<section><h2>Devices that reached each state</h2>${funnelBars(report)}</section>
<section><h2>Errors</h2>${errorTable(report)}</section>
<section><h2>Time spent in a state</h2><p class="note">One sample for each time a state was left. The axis is logarithmic; the dashed lines are p50 and p95.</p><div class="charts">${charts(report)}</div></section>
<section><h2>Stuck devices</h2>${stuckTable(still)}</section>
${devicesSection(report)}
</main>
<script type="application/json" id="data">${embedded(report)}</script>
<script>${script}</script>
</body></html>
`;
}

function tiles(report: Report, stuckAfterMs: number): string {
  const { devices } = report;
  const now = (state: string) => devices.filter((device) => device.state === state).length;
  const standing = (name: Standing) => devicesThat(report, name).length;
  const cell = (name: string, link: string, amount: number) =>
    tile(name, count(amount), share(amount, devices.length), link);
  const p95 = report.toRegistered.count > 0 ? formatDuration(quantile(report.toRegistered, 0.95)) : 'none';
  return [
    tile('devices', count(devices.length)),
    cell('registered now', 'state=registered', now('registered')),
    cell('failed now', 'state=failed', now('failed')),
    cell(`stuck ${formatDuration(stuckAfterMs)} or more`, 'standing=stuck', standing('stuck')),
    cell('silent', 'standing=silent', standing('silent')),
    tile('start to registered, p95', p95),
  ].join('');
}

/** What was left out, if anything. */
function noteOf({ duplicates, replaced, wrongClock, beyond }: Report): string {
  const notes = [
    duplicates > 0 ? `${several(duplicates, 'line')} read before, counted once` : '',
    replaced > 0 ? `${several(replaced, 'device id')} replaced by a reset` : '',
    wrongClock.devices > 0
      ? `${several(wrongClock.devices, 'device')} with a wrong clock, left out of the time axis`
      : '',
    beyond > 0 ? `${several(beyond, 'line')} of further devices left out` : '',
  ].filter((text) => text !== '');
  return notes.length === 0 ? '' : `<p class="note">${notes.join('; ')}</p>`;
}

function devicesSection({ devices, errors, versions }: Report): string {
  const options = (values: Iterable<string>, every: string, shown = (text: string) => text) =>
    [`<option value="">${every}</option>`]
      .concat(
        [...values].map((text) => `<option value="${escapeText(text)}">${escapeText(shown(text))}</option>`),
      )
      .join('');
  const select = (name: string, label: string, inside: string) =>
    `<label>${label}<select name="${name}">${inside}</select></label>`;
  const known = [...versions.keys()].filter((version) => version !== '');
  return `<section id="devices" tabindex="-1"><h2>Each device</h2>
<p class="note">The width of a segment grows with the logarithm of its duration.${devices.length > mostTimelines ? ` ${count(mostTimelines)} of ${count(devices.length)} are shown, unregistered ones first.` : ''}</p>
<p class="legend">${stateNames.map((name) => `<span><i class="s-${name}"></i>${name}</span>`).join('')}</p>
<form><label class="wide">device id, alias or host<input type="search" name="text"></label><label>host<input type="search" name="host"></label>${select('state', 'state now', options(stateNames, 'every state'))}${select('standing', 'standing', options(standings, 'every standing'))}${select('code', 'failed with', options([...errors.keys()].sort(), 'every code'))}${select('version', 'version', options(known, 'every version'))}<button type="reset">show all</button></form>
<noscript><p>The list of devices needs JavaScript; everything above does not.</p></noscript>
<p><span class="found" role="status"></span> <button type="button" class="when" hidden>when they failed</button></p><ol class="ways"></ol><p><button type="button" class="more" hidden>show more</button></p></section>`;
}

function tile(name: string, value: string, more = '', link = ''): string {
  const inside = `<b>${escapeText(value)}</b>${more && `<em>${escapeText(more)}</em>`}<span>${escapeText(name)}</span>`;
  return link === '' ? `<div class="tile">${inside}</div>` : `<a class="tile" href="#${link}">${inside}</a>`;
}

function funnelBars(report: Report): string {
  const all = Math.max(1, report.devices.length);
  const rows = funnel(report).map(
    ({ state, reached, now }) =>
      `<tr><th scope="row"><a href="#state=${state}">${state}</a></th><td class="bar"><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect class="s-${state}" width="${((100 * reached) / all).toFixed(2)}" height="10"/></svg></td><td class="n">${count(reached)}</td><td class="n">${share(reached, all)}</td><td class="n now">${count(now)}</td></tr>`,
  );
  return `<table class="funnel"><thead><tr><th scope="col">state</th><td class="bar"></td><th scope="col" class="n">reached</th><th scope="col" class="n"><span class="quiet">share</span></th><th scope="col" class="n">in it now</th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

function charts({ steps, toRegistered }: Report): string {
  const all: (readonly [string, string, Distribution])[] = [
    ...[...steps]
      .filter(([name]) => name !== 'registered')
      .map(([name, counts]) => [name, name, counts] as const),
    ['start to registered', 'registered', toRegistered],
  ];
  const drawn = all
    .filter(([, , { count }]) => count > 0)
    .map(([title, state, counts]) => chart(title, state, counts));
  return drawn.join('') || '<p>No state was left yet.</p>';
}

const [plotWidth, plotHeight, baseline] = [300, 110, 84];

/** A histogram on the shared logarithmic axis, with p50 and p95. */
function chart(title: string, state: string, counts: Distribution): string {
  const bars = histogram(counts, edges);
  const highest = Math.max(...bars);
  const step = plotWidth / edges.length;
  const x = (ms: number) => Math.max(0, Math.min(plotWidth, (Math.log10(Math.max(ms, 10)) - 1) * 4 * step));
  const rects = bars.flatMap((amount, index) => {
    if (amount === 0) return [];
    const height = Math.max(1.5, (amount / highest) * 66);
    return [
      `<rect class="s-${state}" x="${(index * step + 0.6).toFixed(1)}" y="${(baseline - height).toFixed(1)}" width="${(step - 1.2).toFixed(1)}" height="${height.toFixed(1)}"><title>up to ${formatDuration(edges[index] ?? 0)}: ${count(amount)}</title></rect>`,
    ];
  });
  const ticks = [
    [100, '0.1 s'],
    [1000, '1 s'],
    [10_000, '10 s'],
    [60_000, '1 min'],
    [600_000, '10 min'],
    [3_600_000, '1 h'],
    [86_400_000, '1 d'],
  ] as const;
  const axis = ticks.map(
    ([ms, label]) =>
      `<line class="tick" x1="${x(ms).toFixed(1)}" x2="${x(ms).toFixed(1)}" y1="${baseline}" y2="${baseline + 4}"/><text x="${x(ms).toFixed(1)}" y="${baseline + 15}" text-anchor="middle">${label}</text>`,
  );
  const [p50, p95] = [quantile(counts, 0.5), quantile(counts, 0.95)];
  const mark = (ms: number) =>
    `<line class="mark" x1="${x(ms).toFixed(1)}" x2="${x(ms).toFixed(1)}" y1="12" y2="${baseline}"/>`;
  return `<figure><figcaption><b>${escapeText(title)}<small>${count(counts.count)} times</small></b><span>p50 ${formatDuration(p50)} \u00b7 p95 ${formatDuration(p95)} \u00b7 max ${formatDuration(counts.max)}</span></figcaption><svg viewBox="-8 0 ${plotWidth + 20} ${plotHeight}" role="img" aria-label="${escapeText(title)}: p50 ${formatDuration(p50)}, p95 ${formatDuration(p95)}"><line class="tick" x1="0" x2="${plotWidth}" y1="${baseline}" y2="${baseline}"/>${rects.join('')}${mark(p50)}${mark(p95)}${axis.join('')}</svg></figure>`;
}

function errorTable(report: Report): string {
  const sorted = topErrors(report);
  if (sorted.length === 0) return '<p>None.</p>';
  const rows = sorted.map(([code, error]) => {
    const { count: times, devices, steps, cause } = error;
    return `<article class="error"><h3><a href="#code=${encodeURIComponent(code)}"><code>${escapeText(code)}</code></a><span>${several(times, 'time')}, ${several(devices, 'device')}, in ${escapeText([...steps.keys()].sort().join(', ') || 'the start')}</span></h3>${adviceOf(code, error)}${cause === null ? '' : `<p class="cause">example: ${escapeText(cause.value)}</p>`}</article>`;
  });
  return rows.join('');
}

/** The remedy of each of the most frequent reasons; that of the code if no failure has a reason. */
function adviceOf(code: string, error: ErrorCount): string {
  const advice = topReasons(error, 3).map(
    ([reason, times]) =>
      `<p class="remedy"><code>${escapeText(reason)}</code>, ${several(times, 'time')}: ${marked(remedyOf(code, reason) ?? 'a reason of another version')}</p>`,
  );
  if (advice.length > 0) return advice.join('');
  return `<p class="remedy">${marked(remedyOf(code) ?? 'an error code of another version')}</p>`;
}

function stuckTable(devices: readonly DeviceStory[]): string {
  if (devices.length === 0) return '<p>None.</p>';
  const rows = devices.slice(0, mostListed).map(({ id, host, state, inStateMs, lastCode, failures }) => {
    const times = several(failures, 'failure');
    const problem = failures === 0 ? '' : `${times}${lastCode === null ? '' : `, last ${lastCode}`}`;
    const mark = state === 'failed' ? ' class="bad"' : '';
    return `<li><p><code>${escapeText(id ?? `host ${host}`)}</code><span${mark}>${state} for ${formatDuration(inStateMs)}</span><span class="bad">${escapeText(problem)}</span></p></li>`;
  });
  const more =
    devices.length > mostListed
      ? `<p class="note">and ${count(devices.length - mostListed)} <a href="#standing=stuck">more</a></p>`
      : '';
  return `<ol class="ways stuck">${rows.join('')}</ol>${more}`;
}

/**
 * The devices for the page's script: `[id, alias, host, version, state, standing, ms in the state, last seen, failures,
 * last code, codes, visits, times]`; states, standings and codes by their index, visits as pairs of state and ms, times as
 * `timesOf` them.
 */
function embedded(report: Report): string {
  const { devices, errors } = report;
  const rank = ({ standing }: DeviceStory) => (standing === 'registered' ? 1 : 0);
  const all = [...devices].sort((a, b) => rank(a) - rank(b) || b.unregisteredMs - a.unregisteredMs);
  const shown = all.slice(0, mostTimelines);
  const codes = [...errors.keys()].sort();
  const versions = [...new Set(devices.flatMap(({ times }) => times.map(({ version }) => version)))].sort();
  const state = (name: string | null) => (stateNames as readonly (string | null)[]).indexOf(name);
  const rows = shown.map((device) => [
    device.id ?? '',
    device.alias ?? '',
    device.host ?? '',
    device.version ?? '',
    state(device.state),
    standings.indexOf(device.standing),
    device.inStateMs,
    device.last === null ? 0 : Math.floor(device.last / 1000),
    device.failures,
    device.lastCode ?? '',
    [...device.codes.keys()].map((code) => codes.indexOf(code)),
    device.visits.filter((_, index) => index % 3 !== 1).map(Math.round),
    timesOf(report, device, { codes, versions }),
  ]);
  const times = compareData(report, { codes, versions }, all.slice(mostTimelines));
  const data = { states: stateNames, standings, codes, versions, times, devices: rows };
  return JSON.stringify(data).replace(/</g, '\\u003c');
}

function share(part: number, all: number): string {
  return all === 0 ? '' : `${((100 * part) / all).toFixed(1)} %`;
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}

function several(amount: number, what: string): string {
  return `${count(amount)} ${what}${amount === 1 ? '' : 's'}`;
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
}

/** Text of the catalogue, with commands and keys between backticks, as HTML. */
function marked(text: string): string {
  return escapeText(text).replace(/`([^`]+)`/g, '<code>$1</code>');
}
