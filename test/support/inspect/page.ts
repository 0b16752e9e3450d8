import type { AnyStateNode } from 'xstate';
import { edgesOf, nodesOf } from '../../../scripts/statechart.ts';

/** The page: the chart as nested boxes, from its definition; the script follows the machine over `/events`. */
export function pageOf(root: AnyStateNode): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>onboardd: live machine</title>
<style>${style}</style>
<header><h1>onboardd</h1><p id="where">waits for the device</p></header>
<main>${Object.values(root.states).map(box).join('')}</main>
<aside>
<h2>Events</h2><p>Select one to see the machine as it was then.</p><ol id="events"></ol>
<h2>Context</h2><pre id="context"></pre>
</aside>
<script>${script}</script>
</html>
`;
}

/** A state with its edges, and the states inside it. */
function box(node: AnyStateNode): string {
  const own = edgesOf(node).filter(({ source }) => source.length === node.path.length);
  const edges = own.map(({ event, guard, target }) => {
    const label = `${event}${guard === null ? '' : ` [${guard}]`} → ${target?.join('.') ?? 'stays'}`;
    return `<li>${escapeHtml(label)}</li>`;
  });
  const inner = Object.values(node.states).map(box).join('');
  return `<section data-state="${escapeHtml(node.path.join('.'))}" title="${escapeHtml(node.description ?? '')}">
<h3>${escapeHtml(node.key)}</h3><ul>${edges.join('')}</ul>${inner === '' ? '' : `<div>${inner}</div>`}</section>`;
}

/** Paths of the states that the page has a box for. */
export function boxesOf(root: AnyStateNode): string[] {
  return nodesOf(root)
    .slice(1)
    .map(({ path }) => path.join('.'));
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

const style = `
body { display: grid; grid: auto 1fr / 1fr 26rem; gap: 1rem; margin: 1rem; font: 14px/1.4 system-ui, sans-serif; }
header { grid-column: 1 / -1; display: flex; gap: 1rem; align-items: baseline; }
h1, h2, h3, ul, ol, p { margin: 0; padding: 0; }
main, section > div { display: flex; flex-wrap: wrap; gap: .5rem; align-items: flex-start; }
section { border: 1px solid #999; border-radius: .4rem; padding: .4rem .6rem; }
section.active { border-color: #06c; background: #e3f0ff; }
section.active section.active { background: #a9d2ff; }
ul { list-style: none; font-size: 11px; color: #555; }
#events { list-style: none; max-height: 45vh; overflow: auto; font-family: monospace; font-size: 12px; }
#events li { cursor: pointer; }
#events li.shown { background: #e3f0ff; }
pre { overflow: auto; font-size: 12px; }
`;

const script = `
const list = document.getElementById('events');
let follows = true;
function show(moment, line) {
  for (const box of document.querySelectorAll('[data-state]'))
    box.classList.toggle('active', moment.active.includes(box.dataset.state));
  for (const other of list.children) other.classList.toggle('shown', other === line);
  document.getElementById('where').textContent = moment.active.at(-1);
  document.getElementById('context').textContent = JSON.stringify(moment.context, null, 2);
}
const source = new EventSource('/events');
source.onopen = () => list.replaceChildren();
source.onmessage = ({ data }) => {
  const moment = JSON.parse(data);
  const line = document.createElement('li');
  line.textContent = String(moment.at).padStart(6) + ' ms  ' + moment.event + ' → ' + moment.active.at(-1);
  line.onclick = () => {
    follows = line === list.lastElementChild;
    show(moment, line);
  };
  list.append(line);
  if (!follows) return;
  show(moment, line);
  line.scrollIntoView({ block: 'nearest' });
};
`;
