/**
 * Draws the strips over time again for the devices that a filter finds, as `timelineSection` draws them for all.
 * `drawTimes(devices, code, showAll)`: null for all devices, a code or an empty text for all codes.
 */
export const chartScript = `
const drawTimes = (() => {
  const { codes, versions, times } = JSON.parse(document.getElementById('data').textContent);
  const root = document.getElementById('strips');
  if (!times || !root) return () => {};
  const whole = [...root.childNodes];
  const [scope, axis] = [document.querySelector('#time .scope'), root.querySelector('.axis')];
  const [told, back] = scope.children;
  const { begin, barMs, perDrawn } = times;
  const bars = Math.max(2, Math.ceil(times.bars / perDrawn));
  const wide = barMs * perDrawn;
  const height = 34;
  const moment = (ms) => new Date(ms).toISOString().slice(5, 16).replace('T', ' ');
  const number = (value) => value.toLocaleString('en-US');
  const make = (tag, text) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const drawing = (tag, attributes) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const stripsOf = (devices, code) => {
    const all = new Map();
    const strip = (kind, name) => {
      const key = kind + ' ' + name;
      return all.get(key) || all.set(key, { kind, name, counts: Array(bars).fill(0), total: 0, devices: new Set() }).get(key);
    };
    for (const device of devices)
      for (const [what, version, ...counts] of device[device.length - 1]) {
        if (what >= 0 && code && codes[what] !== code) continue;
        const own = what < 0 ? [strip('registered', 'registered')] : [strip('code', codes[what])];
        if (what >= 0 && versions[version]) own.push(strip('version', versions[version]));
        for (const one of own) {
          one.devices.add(device);
          for (let index = 0; index < counts.length; index += 2) {
            one.counts[Math.floor(counts[index] / perDrawn)] += counts[index + 1];
            one.total += counts[index + 1];
          }
        }
      }
    const top = (wanted) => [...all.values()].filter(({ kind }) => kind === wanted).sort((a, b) => b.total - a.total || (a.name < b.name ? -1 : 1)).slice(0, 6);
    return ['code', 'version', 'registered'].flatMap(top);
  };
  /** The bars around the highest one that are at least a tenth as high. */
  const busiest = (counts) => {
    const peak = counts.indexOf(Math.max(...counts));
    let [from, to] = [peak, peak];
    while (from > 0 && counts[from - 1] >= counts[peak] / 10) from--;
    while (to < counts.length - 1 && counts[to + 1] >= counts[peak] / 10) to++;
    return [from, to, counts.slice(from, to + 1).reduce((sum, amount) => sum + amount, 0)];
  };
  const draw = ({ kind, name, counts, total, devices: { size } }) => {
    const [from, to, inside] = busiest(counts);
    const part = Math.round((100 * inside) / total);
    const when = part + ' % from ' + moment(begin + from * wide) + ' to ' + moment(begin + (to + 1) * wide);
    const label = kind === 'version' ? 'failures of version ' + name : name;
    const amount = number(total) + ' on ' + number(size) + (size === 1 ? ' device' : ' devices');
    const title = make(kind === 'registered' ? 'b' : 'a', label);
    if (kind !== 'registered') title.href = '#' + new URLSearchParams([[kind, name]]);
    const caption = make('figcaption');
    const words = make('span', amount);
    if (kind !== 'registered' && part >= 50 && to - from + 1 <= bars / 3 && inside >= 20) words.append('; ', make('em', when));
    caption.append(title, words);
    const peak = Math.max(...counts);
    const picture = drawing('svg', { viewBox: '0 0 100 ' + height, preserveAspectRatio: 'none', role: 'img', 'aria-label': label + ': ' + amount + ', ' + when });
    counts.forEach((value, index) => {
      if (value === 0) return;
      const tall = Math.max(1.5, (value / peak) * height);
      const bar = drawing('rect', { x: (index * 100) / bars, y: height - tall, width: 86 / bars, height: tall });
      const hint = drawing('title', {});
      hint.textContent = moment(begin + index * wide) + ': ' + number(value);
      bar.append(hint);
      picture.append(bar);
    });
    const figure = make('figure');
    figure.className = 'strip t-' + kind;
    figure.append(caption, picture);
    return figure;
  };
  const tableOf = (strips) => {
    const shown = strips.filter(({ kind }) => kind !== 'version');
    const perRow = Math.ceil(bars / 24);
    const head = document.createElement('tr');
    const cell = (tag, text, scope) => {
      const element = make(tag, text);
      if (scope) element.scope = scope;
      if (scope !== 'row') element.className = 'n';
      return element;
    };
    head.append(...['from (UTC)', ...shown.map(({ name }) => name)].map((text) => cell('th', text, 'col')));
    const rows = Array.from({ length: Math.ceil(bars / perRow) }, (_, row) => {
      const line = document.createElement('tr');
      line.append(cell('th', moment(begin + row * perRow * wide), 'row'));
      for (const { counts } of shown) line.append(cell('td', number(counts.slice(row * perRow, (row + 1) * perRow).reduce((sum, amount) => sum + amount, 0))));
      return line;
    });
    const table = document.createElement('table');
    table.createTHead().append(head);
    table.createTBody().append(...rows);
    const around = make('div');
    around.className = 'wide-table';
    around.tabIndex = 0;
    around.setAttribute('role', 'region');
    around.setAttribute('aria-label', 'Failures over time, as a table');
    around.append(table);
    const details = make('details');
    details.open = root.querySelector('details')?.open ?? false;
    details.append(make('summary', 'as a table'), around);
    return details;
  };
  let showAll = () => {};
  back.addEventListener('click', () => {
    showAll();
    document.getElementById('time').focus({ preventScroll: true });
  });
  return (devices, code, onShowAll) => {
    showAll = onShowAll;
    scope.hidden = devices === null;
    if (devices === null) {
      root.replaceChildren(...whole);
      return;
    }
    told.textContent = 'Only the ' + number(devices.length) + (devices.length === 1 ? ' device' : ' devices') + ' that the filter finds' + (code ? ', and only ' + code : '') + '.';
    const strips = stripsOf(devices, code);
    root.replaceChildren(...(strips.length === 0 ? [make('p', 'No failure, and no registration.')] : [...strips.map(draw), axis, tableOf(strips)]));
  };
})();
`;
