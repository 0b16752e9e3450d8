/** Style and script of the report's page. The script inserts text of the log with `textContent` only. */
export const pageStyle = `
:root{--bg:#fbfbfa;--fg:#1c1f23;--dim:#5d656f;--line:#d9dce0;--card:#fff;--idle:#b9bfc7;--keygen:#a8c8ea;--csr:#74a9dc;--provisioned:#4287c6;--registering:#1f5f9e;--registered:#2f8f5b;--failed:#c8442f}
@media(prefers-color-scheme:dark){:root{--bg:#15171a;--fg:#e8eaed;--dim:#9aa3ad;--line:#33383e;--card:#1d2024;--idle:#6a727c;--keygen:#2f5e8c;--csr:#3f7fbb;--provisioned:#64a3dd;--registering:#9ccbf4;--registered:#4fb37d;--failed:#e8664f}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.45 system-ui,sans-serif}
header,main{max-width:68rem;margin:0 auto;padding:0 1rem}h1{font-size:1.5rem;margin:1.2rem 0 .1rem}h2{font-size:1.1rem;margin:0 0 .6rem}
section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1rem;margin:1rem 0}
.span,.note,.found{color:var(--dim);margin:.1rem 0 .7rem}.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.6rem}
.tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.6rem .8rem}.tile b{font-size:1.5rem;line-height:1.2}.tile em{font-style:normal;color:var(--dim);margin-left:.4rem}.tile span{display:block;color:var(--dim)}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .5rem .25rem 0;font-weight:400}thead th{color:var(--dim)}.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.funnel .bar{width:55%}.funnel svg{display:block;width:100%;height:1.1rem;background:color-mix(in srgb,var(--line) 40%,transparent);border-radius:3px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr));gap:1rem}figure{margin:0}figcaption b,figcaption span{display:block}figcaption small{font-weight:400;color:var(--dim);margin-left:.5rem}figcaption span{color:var(--dim);font-size:.85rem}figure svg{width:100%;height:auto;display:block}
svg text{font-size:9.5px;fill:var(--dim)}.tick{stroke:var(--dim);stroke-width:.8}.mark{stroke:var(--fg);stroke-width:1;stroke-dasharray:3 2}
.s-idle{fill:var(--idle);background:var(--idle)}.s-keygen{fill:var(--keygen);background:var(--keygen)}.s-csr{fill:var(--csr);background:var(--csr)}.s-provisioned{fill:var(--provisioned);background:var(--provisioned)}.s-registering{fill:var(--registering);background:var(--registering)}.s-registered{fill:var(--registered);background:var(--registered)}.s-failed{fill:var(--failed);background:var(--failed)}
.error{border-top:1px solid var(--line);padding:.5rem 0}.error:first-of-type{border:0;padding-top:0}.error h3{font-size:1rem;margin:0;font-weight:400}.error h3 span{color:var(--dim);margin-left:.6rem}.error p{margin:.15rem 0}.cause{color:var(--dim);overflow-wrap:anywhere;font-size:.9rem}
code{font-size:.88em;overflow-wrap:anywhere}.legend{display:flex;flex-wrap:wrap;gap:.2rem .9rem;margin:.3rem 0 .7rem;color:var(--dim);font-size:.9rem}.legend i{display:inline-block;width:.8rem;height:.8rem;border-radius:2px;margin-right:.3rem;vertical-align:-1px}
form{margin-bottom:.6rem;display:flex;gap:.5rem;flex-wrap:wrap}input,select,button{font:inherit;color:inherit;background:var(--bg);border:1px solid var(--line);border-radius:6px;padding:.35rem .6rem}
.ways{list-style:none;margin:0;padding:0}.ways li{border-top:1px solid var(--line);padding:.5rem 0}.stuck li:first-child{border:0;padding-top:0}.stuck code{flex:0 1 17rem}.ways p{margin:0;display:flex;gap:.2rem .8rem;flex-wrap:wrap}.ways p+div{margin:.3rem 0 .2rem}.way{display:flex;height:.8rem;border-radius:3px;overflow:hidden;gap:1px}.way i{min-width:2px}.ways small{color:var(--dim)}.bad{color:var(--failed)}
a{color:inherit;text-underline-offset:.15em;text-decoration-color:var(--dim)}a.tile{text-decoration:none}a.tile:hover{border-color:var(--fg)}:focus-visible{outline:2px solid var(--registering);outline-offset:2px}.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:.5rem;background:var(--card);padding:.4rem}
.strip{margin:.1rem 0 .55rem}.strip figcaption{display:flex;flex-wrap:wrap;gap:.1rem .7rem;align-items:baseline}.strip figcaption a{overflow-wrap:anywhere}.strip figcaption span{display:inline}.strip em,.worse em{font-style:normal;color:var(--failed)}.strip svg{height:2.1rem;border-bottom:1px solid var(--line)}.notable{margin:0 0 .8rem;padding-left:1.1rem;color:var(--failed)}.strip svg{width:100%;display:block}.t-code rect{fill:var(--failed)}.t-version rect{fill:var(--provisioned)}.t-registered rect{fill:var(--registered)}.axis{display:flex;justify-content:space-between;color:var(--dim);font-size:.85rem;margin:0}
fieldset{border:1px solid var(--line);border-radius:6px;display:flex;flex:1 1 20rem;flex-wrap:wrap;gap:.5rem;margin:0;min-width:0;padding:.3rem .6rem .6rem}legend{color:var(--dim);font-size:.85rem;padding:0 .3rem}.presets{align-self:end;display:flex;flex-wrap:wrap;gap:.5rem}.told{color:var(--dim);margin:.3rem 0}.compare caption,.quiet{clip-path:inset(50%);position:absolute}.compare td:last-child{padding-left:1rem}.compare small{display:block;color:var(--dim)}.wide-table{overflow-x:auto}details{margin-top:.5rem}summary{color:var(--dim);cursor:pointer;font-size:.85rem}details th,details td{font-size:.85rem;white-space:nowrap;padding-right:1rem}
form label{color:var(--dim);font-size:.85rem;display:grid;flex:1 1 8.5rem;min-width:0}form .wide{flex-basis:15rem}form input,form select{width:100%}form button{align-self:end}
@media(max-width:34rem){.funnel thead{position:absolute;clip-path:inset(50%)}.funnel tr{display:grid;grid-template-columns:1fr auto auto 4rem;gap:0 .5rem;padding:.15rem 0}.funnel .bar{grid-column:1/-1;grid-row:2;width:100%;padding:0}.funnel svg{height:.7rem}.now::after{content:' now';color:var(--dim)}.versions{font-size:.85rem}.versions thead th{white-space:normal}.versions th,.versions td{padding-right:.25rem}.versions tbody th,.compare tbody th{overflow-wrap:anywhere}fieldset{display:grid;flex-basis:100%}.compare{font-size:.85rem}.compare th,.compare td{padding-right:.25rem}.compare thead th:first-child{display:none}.compare thead th:last-child{padding-left:.5rem}.compare tr{display:grid;grid-template-columns:1fr 1fr 1.2fr;border-top:1px solid var(--line);padding:.2rem 0}.compare tbody th{grid-column:1/-1}.compare td:last-child{padding-left:.5rem}.axis span:nth-child(even){display:none}.versions tr>:nth-child(4){display:none}.funnel th,.funnel td{padding-right:.35rem}.tile b{font-size:1.25rem}section{padding:.8rem}.tiles{grid-template-columns:1fr 1fr}}
@media print{section{break-inside:avoid}form,button{display:none}}
`;

export const pageScript = `
(() => {
  const { states, standings, codes, devices } = JSON.parse(document.getElementById('data').textContent);
  const root = document.getElementById('devices');
  const [form, list, found, more, when] = ['form', '.ways', '.found', '.more', '.when'].map((name) => root.querySelector(name));
  const names = ['text', 'host', 'state', 'standing', 'code', 'version'];
  const page = 50;
  let matching = [];
  const spell = (ms) => {
    const s = ms / 1000;
    if (ms > 0 && ms < 95) return Math.round(ms) + ' ms';
    if (s < 9.95) return s.toFixed(1) + ' s';
    if (s < 60) return Math.round(s) + ' s';
    if (s < 3600) return Math.floor(s / 60) + ' min ' + Math.floor(s % 60) + ' s';
    if (s < 86400) return Math.floor(s / 3600) + ' h ' + Math.floor((s % 3600) / 60) + ' min';
    return Math.floor(s / 86400) + ' d ' + Math.floor((s % 86400) / 3600) + ' h';
  };
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const row = ([id, alias, host, version, state, standing, forMs, last, failures, code, , flat]) => {
    const visits = flat.flatMap((index, at) => (at % 2 ? [] : [[index, flat[at + 1]]]));
    const item = make('li');
    const head = make('p');
    head.append(make('code', '', id || 'host ' + host));
    for (const text of [alias, id && host, version]) if (text) head.append(make('span', '', text));
    if (state >= 0) head.append(make('span', states[state] === 'failed' ? 'bad' : '', states[state] + ' for ' + spell(forMs)));
    if (standings[standing] === 'silent' || standings[standing] === 'stuck') head.append(make('span', 'bad', standings[standing]));
    if (failures) head.append(make('span', 'bad', failures + (failures > 1 ? ' failures' : ' failure') + (code ? ', last ' + code : '')));
    head.append(make('span', '', last ? 'last seen ' + new Date(last * 1000).toISOString().slice(0, 16).replace('T', ' ') : 'wrong clock'));
    const bar = make('div', 'way');
    bar.setAttribute('aria-hidden', 'true');
    const parts = state < 0 ? visits : [...visits, [state, forMs]];
    for (const [index, ms] of parts) {
      const part = make('i', 's-' + states[index]);
      part.style.flexGrow = String(Math.log10(1 + ms) + 0.2);
      part.title = states[index] + ' ' + spell(ms);
      bar.append(part);
    }
    item.append(head, bar, make('small', '', visits.map(([index, ms]) => states[index] + ' ' + spell(ms)).join(' \\u2192 ')));
    return item;
  };
  const grow = () => {
    const begin = list.children.length;
    list.append(...matching.slice(begin, begin + page).map(row));
    more.hidden = list.children.length >= matching.length;
  };
  const look = () => {
    const [text, host, state, standing, code, version] = names.map((name) => form.elements[name].value);
    const [part, hostPart] = [text, host].map((value) => value.trim().toLowerCase());
    const codeIndex = codes.indexOf(code);
    matching = devices.filter(
      ([id, alias, itsHost, itsVersion, itsState, itsStanding, , , , , itsCodes]) =>
        (state === '' || states[itsState] === state) &&
        (standing === '' || standings[itsStanding] === standing) &&
        (code === '' || itsCodes.includes(codeIndex)) &&
        (version === '' || itsVersion === version) &&
        (hostPart === '' || itsHost.toLowerCase().includes(hostPart)) &&
        (part === '' || [id, alias, itsHost].some((name) => name.toLowerCase().includes(part))),
    );
    found.textContent = matching.length.toLocaleString('en-US') + (matching.length === 1 ? ' device' : ' devices');
    const isFiltered = names.some((name) => form.elements[name].value.trim() !== '');
    when.hidden = !isFiltered;
    drawTimes(isFiltered ? matching : null, code, () => form.reset());
    list.replaceChildren();
    grow();
  };
  const toHash = () => {
    const filter = new URLSearchParams(location.hash.slice(1));
    filter.delete('devices');
    for (const name of names) {
      if (form.elements[name].value) filter.set(name, form.elements[name].value);
      else filter.delete(name);
    }
    history.replaceState(null, '', '#' + (filter.toString() || 'devices'));
  };
  const fromHash = () => {
    const filter = new URLSearchParams(location.hash.slice(1));
    for (const name of names) form.elements[name].value = filter.get(name) || '';
    look();
    if (names.some((name) => filter.has(name))) {
      root.scrollIntoView();
      root.focus({ preventScroll: true });
    }
  };
  form.addEventListener('input', () => { toHash(); look(); });
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('reset', () => setTimeout(() => { toHash(); look(); }));
  when.addEventListener('click', () => {
    const time = document.getElementById('time');
    time.scrollIntoView();
    time.focus({ preventScroll: true });
  });
  more.addEventListener('click', () => {
    const next = list.children.length;
    grow();
    // A keyboard goes on where the new ones begin.
    const first = list.children[next];
    if (!first) return;
    first.tabIndex = -1;
    first.focus({ preventScroll: true });
  });
  addEventListener('hashchange', fromHash);
  fromHash();
})();
`;
