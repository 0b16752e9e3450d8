/** One line, or one row of bars, of a plot. */
export interface Series {
  readonly name: string;
  /** x ascending */
  readonly points: readonly (readonly [x: number, y: number])[];
  /** `line` by default; `bars` reach from 0 to y, as wide as the points are apart; `dots` are not joined */
  readonly style?: 'line' | 'bars' | 'dots';
}

export interface LinePlot {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
  /** A line under the title, such as the command that made the figures. */
  readonly subtitle?: string;
  /** Horizontal lines with a name, such as a mean or a limit. */
  readonly marks?: readonly { readonly name: string; readonly y: number }[];
}

const size = { width: 760, height: 400 };
const margin = { left: 70, right: 24, top: 66, bottom: 78 };
const inner = {
  width: size.width - margin.left - margin.right,
  height: size.height - margin.top - margin.bottom,
};
/** Told apart also by those who see few colours (Okabe and Ito). */
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];

/**
 * A plot as an SVG document of its own: axes from round number to round number, y from 0, a legend below. White
 * behind, so that it reads on a dark page too.
 *
 * @throws {RangeError} where there is no point, or one that is no finite number
 */
export function linePlot({ title, xLabel, yLabel, series, subtitle = '', marks = [] }: LinePlot): string {
  const points = series.flatMap((one) => one.points);
  const values = [...points.flat(), ...marks.map(({ y }) => y)];
  if (points.length === 0 || !values.every(Number.isFinite))
    throw new RangeError('a plot needs points, and finite ones');
  const xs = ticks(least(points.map(([x]) => x)), most(points.map(([x]) => x)), 8);
  const ys = ticks(
    Math.min(0, least(points.map(([, y]) => y))),
    most([...points.map(([, y]) => y), ...marks.map(({ y }) => y)]),
    6,
  );
  const x = scale(xs, margin.left, margin.left + inner.width);
  const y = scale(ys, margin.top + inner.height, margin.top);
  const bottom = margin.top + inner.height;
  const right = margin.left + inner.width;
  const parts = [
    `<rect width="${size.width}" height="${size.height}" fill="#fff"/>`,
    text(margin.left, 26, title, 'font-size="16" font-weight="bold"'),
    text(margin.left, 46, subtitle, 'fill="#666"'),
    ...ys.map((value) => stroke(margin.left, y(value), right, y(value), '#ddd')),
    ...ys.map((value) => text(margin.left - 8, y(value) + 4, show(value), 'text-anchor="end" fill="#444"')),
    ...xs.map((value) => stroke(x(value), bottom, x(value), bottom + 5, '#444')),
    ...xs.map((value) => text(x(value), bottom + 19, show(value), 'text-anchor="middle" fill="#444"')),
    ...series.map((one, index) => draw(one, colourOf(index), x, y)),
    stroke(margin.left, y(0), right, y(0), '#444'),
    ...marks.flatMap(({ name, y: at }) => [
      stroke(margin.left, y(at), right, y(at), '#444', 'stroke-dasharray="5 4"'),
      text(
        right - 4,
        y(at) - 5,
        name,
        'text-anchor="end" fill="#222" stroke="#fff" stroke-width="3" paint-order="stroke"',
      ),
    ]),
    text(margin.left + inner.width / 2, bottom + 40, xLabel, 'text-anchor="middle"'),
    text(
      0,
      0,
      yLabel,
      `text-anchor="middle" transform="translate(18 ${margin.top + inner.height / 2}) rotate(-90)"`,
    ),
    ...legend(series, bottom + 62),
  ];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" font-family="sans-serif" font-size="12" role="img" aria-label="${escaped(title)}">`,
    ...parts.filter((part) => part !== ''),
    '</svg>\n',
  ].join('\n');
}

/** How many values fall into each step of `width` from `from` on, as points at the middle of the steps. */
export function histogram(values: readonly number[], from: number, width: number): [x: number, y: number][] {
  const counts: number[] = Array.from(
    { length: Math.floor((most([from, ...values]) - from) / width) + 1 },
    () => 0,
  );
  for (const value of values) {
    const step = Math.floor((value - from) / width);
    if (step >= 0) counts[step] = (counts[step] ?? 0) + 1;
  }
  return counts.map((count, step) => [from + (step + 0.5) * width, count]);
}

type Scale = (value: number) => number;

function draw({ points, style = 'line' }: Series, colour: string, x: Scale, y: Scale): string {
  const at = points.map(([px, py]) => [x(px), y(py)] as const);
  if (style === 'line') {
    const path = at.map(([px, py]) => `${round(px)},${round(py)}`).join(' ');
    return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.8" stroke-linejoin="round"/>`;
  }
  if (style === 'dots') {
    return at
      .map(([px, py]) => `<circle cx="${round(px)}" cy="${round(py)}" r="2.2" fill="${colour}"/>`)
      .join('');
  }
  const apart = at.length > 1 ? ((at.at(-1)?.[0] ?? 0) - (at[0]?.[0] ?? 0)) / (at.length - 1) : 20;
  const width = Math.max(1, apart * 0.9);
  return at
    .map(([px, py]) => {
      const left = Math.max(margin.left, px - width / 2);
      const shown = Math.min(size.width - margin.right, px + width / 2) - left;
      return `<rect x="${round(left)}" y="${round(Math.min(py, y(0)))}" width="${round(shown)}" height="${round(Math.abs(y(0) - py))}" fill="${colour}" fill-opacity="0.75"/>`;
    })
    .join('');
}

function legend(series: readonly Series[], top: number): string[] {
  let left = margin.left;
  return series.flatMap(({ name }, index) => {
    const box = `<rect x="${left}" y="${top - 9}" width="14" height="10" fill="${colourOf(index)}"/>`;
    const label = text(left + 20, top, name, '');
    left += 20 + name.length * 7 + 20;
    return [box, label];
  });
}

/** Round numbers that reach from at most `from` to at least `to`. */
function ticks(from: number, to: number, about: number): number[] {
  const span = to > from ? to - from : 1;
  const power = 10 ** Math.floor(Math.log10(span / about));
  const step = power * ([1, 2, 5, 10].find((factor) => span / (factor * power) <= about) ?? 10);
  const first = Math.floor(from / step);
  const last = Math.max(first + 1, Math.ceil(to / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

function scale(values: readonly number[], low: number, high: number): Scale {
  const [from, to] = [values[0] ?? 0, values.at(-1) ?? 1];
  return (value) => low + ((value - from) / (to - from)) * (high - low);
}

function least(values: readonly number[]): number {
  return values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
}

function most(values: readonly number[]): number {
  return values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
}

function show(value: number): string {
  if (Math.abs(value) >= 1_000_000) return `${Number((value / 1_000_000).toPrecision(3))} M`;
  return Math.abs(value) >= 10_000
    ? `${Number((value / 1000).toPrecision(4))} k`
    : `${Number(value.toPrecision(6))}`;
}

function stroke(x1: number, y1: number, x2: number, y2: number, colour: string, more = ''): string {
  return `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke="${colour}" ${more}/>`;
}

function text(x: number, y: number, content: string, more: string): string {
  return content === '' ? '' : `<text x="${round(x)}" y="${round(y)}" ${more}>${escaped(content)}</text>`;
}

function colourOf(index: number): string {
  return colours[index % colours.length] ?? '#000';
}

function escaped(content: string): string {
  return content.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
