import { stateNames } from '../../events.ts';
import { remedyOf } from '../../services/diagnostics/status.ts';
import { type Distribution, histogram, quantile } from '../../services/fleetReport/distribution.ts';
import {
  type DeviceStory,
  type ErrorCount,
  funnel,
  type Report,
  stuck,
  topReasons,
} from '../../services/fleetReport/report.ts';
import { formatDuration } from '../../text/duration.ts';
import { plainText } from '../../text/plainText.ts';
import { pageScript, pageStyle } from './reportPageParts.ts';

/** More timelines would make the page too heavy for a phone. */
const mostTimelines = 10_000;
/** Upper edges of the histograms' bars, ms: a logarithmic axis, four bars a decade, from 10 ms to a day and beyond. */
const edges = Array.from({ length: 30 }, (_, index) => 10 * 10 ** ((index + 1) / 4));

/**
 * One self-contained page: it loads nothing, and its content security policy forbids it to.
 *
 * @param sha256 base64 of a text's SHA-256, for the one script that may run
 */
export function reportPage(report: Report, stuckAfterMs: number, sha256: (text: string) => string): string {
  const { devices, first, last, lines, foreign } = report;
  const still = stuck(report, stuckAfterMs);
  const rows = funnel(report);
  const registered = rows.find(({ state }) => state === 'registered')?.now ?? 0;
  const failed = rows.find(({ state }) => state === 'failed')?.now ?? 0;
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${sha256(pageScript)}'`;
  const span =
    devices.size > 0
      ? `<p class="span">${day(first)} to ${day(last)} UTC, ${formatDuration(last - first)}; ${count(lines - foreign)} events of ${count(lines)} lines</p>`
      : '<p class="span">no events of onboardd in the logs</p>';
  const tiles = [
    tile('devices', count(devices.size)),
    tile('registered now', `${count(registered)}`, share(registered, devices.size)),
    tile('failed now', count(failed), share(failed, devices.size)),
    tile(
      `stuck ${formatDuration(stuckAfterMs)} or more`,
      count(still.length),
      share(still.length, devices.size),
    ),
    tile(
      'start to registered, p95',
      report.toRegistered.count > 0 ? formatDuration(quantile(report.toRegistered, 0.95)) : 'none',
    ),
  ].join('');
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${escapeText(policy)}">
<title>onboardd report</title><style>${pageStyle}</style></head><body>
<header><h1>Onboarding report</h1>${span}<div class="tiles">${tiles}</div></header>
<main>
<section><h2>Devices that reached each state</h2>${funnelBars(report)}</section>
<section><h2>Time spent in a state</h2><p class="note">One sample for each time a state was left. The axis is logarithmic; the dashed lines are p50 and p95.</p><div class="charts">${charts(report)}</div></section>
<section><h2>Errors</h2>${errorTable(report)}</section>
<section><h2>Stuck devices</h2>${stuckTable(still, last)}</section>
<section id="devices"><h2>History of each device</h2>
<p class="note">The width of a segment grows with the logarithm of its duration.${devices.size > mostTimelines ? ` ${count(mostTimelines)} of ${count(devices.size)} are shown, unregistered ones first.` : ''}</p>
<p class="legend">${stateNames.map((name) => `<span><i class="s-${name}"></i>${name}</span>`).join('')}</p>
<form><input type="search" name="text" placeholder="device id or alias" aria-label="device id or alias"><select name="state" aria-label="state now"><option value="">every state</option>${stateNames.map((name, index) => `<option value="${index}">${name} now</option>`).join('')}</select></form>
<noscript><p>The list of devices needs JavaScript; everything above does not.</p></noscript>
<p class="found" aria-live="polite"></p><ol class="ways"></ol><p><button type="button" hidden>show more</button></p></section>
</main>
<script type="application/json" id="data">${embedded(report)}</script>
<script>${pageScript}</script>
</body></html>
`;
}

function tile(name: string, value: string, more = ''): string {
  return `<div class="tile"><b>${escapeText(value)}</b>${more && `<em>${escapeText(more)}</em>`}<span>${escapeText(name)}</span></div>`;
}

function funnelBars(report: Report): string {
  const all = Math.max(1, report.devices.size);
  const rows = funnel(report).map(
    ({ state, reached, now }) =>
      `<tr><th scope="row">${state}</th><td class="bar"><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect class="s-${state}" width="${((100 * reached) / all).toFixed(2)}" height="10"/></svg></td><td class="n">${count(reached)}</td><td class="n">${share(reached, all)}</td><td class="n now">${count(now)}</td></tr>`,
  );
  return `<table class="funnel"><thead><tr><th>state</th><th></th><th class="n">reached</th><th></th><th class="n">in it now</th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
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

function errorTable({ errors }: Report): string {
  const sorted = [...errors].sort(([, a], [, b]) => b.count - a.count);
  if (sorted.length === 0) return '<p>None.</p>';
  const rows = sorted.map(([code, error]) => {
    const { count: times, devices, steps, cause } = error;
    return `<article class="error"><h3><code>${escapeText(code)}</code><span>${several(times, 'time')}, ${several(devices, 'device')}, in ${escapeText([...steps.keys()].join(', ') || 'the start')}</span></h3>${adviceOf(code, error)}${cause === null ? '' : `<p class="cause">example: ${escapeText(cause)}</p>`}</article>`;
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

function stuckTable(devices: readonly DeviceStory[], last: number): string {
  if (devices.length === 0) return '<p>None.</p>';
  const rows = devices.slice(0, 50).map(({ id, state, since, lastCode, failures }) => {
    const times = several(failures, 'failure');
    const problem = failures === 0 ? '' : `${times}${lastCode === null ? '' : `, last ${lastCode}`}`;
    const mark = state === 'failed' ? ' class="bad"' : '';
    return `<li><p><code>${escapeText(id)}</code><span${mark}>${state} for ${formatDuration(last - since)}</span><span class="bad">${escapeText(problem)}</span></p></li>`;
  });
  const more =
    devices.length > 50
      ? `<p class="note">and ${count(devices.length - 50)} more: choose a state below</p>`
      : '';
  return `<ol class="ways stuck">${rows.join('')}</ol>${more}`;
}

/** The devices for the page's script: `[id, alias, state, seconds in it, failures, last code, visits]`. */
function embedded({ devices, last }: Report): string {
  const rank = ({ state }: DeviceStory) => (state === 'registered' ? 1 : 0);
  const shown = [...devices.values()]
    .sort((a, b) => rank(a) - rank(b) || a.since - b.since)
    .slice(0, mostTimelines);
  const index = (name: string | null) => (stateNames as readonly (string | null)[]).indexOf(name);
  const rows = shown.map(({ id, alias, state, since, failures, lastCode, visits }) => [
    id,
    alias,
    index(state),
    Math.max(0, last - since),
    failures,
    lastCode,
    visits.map(([visited, , durationMs]) => [index(visited), Math.round(durationMs)]),
  ]);
  return JSON.stringify({ states: stateNames, devices: rows }).replace(/</g, '\\u003c');
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

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Untrusted text as text of the page. */
export function escapeText(text: string): string {
  return plainText(text).replace(/[&<>"']/g, (character) => entities[character] ?? '');
}
