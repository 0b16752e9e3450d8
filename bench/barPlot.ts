/** A row of a bar plot: its parts lie one after the other. */
export interface Bar {
  readonly name: string;
  /** In the order of `BarPlot.parts` */
  readonly values: readonly number[];
}

export interface BarPlot {
  readonly title: string;
  readonly subtitle: string;
  readonly unit: string;
  /** Names of the parts of each bar, for the legend */
  readonly parts: readonly string[];
  readonly bars: readonly Bar[];
}

const width = 760;
const left = 190;
const right = 90;
const top = 66;
const rowHeight = 30;
/** Told apart also by those who see few colours (Okabe and Ito). */
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];

/**
 * Horizontal bars as an SVG document of its own, from 0, with the sum at the end of each. White behind, so that it reads
 * on a dark page too.
 *
 * @throws {RangeError} of no bars, or where a value is negative or no finite number
 */
export function barPlot({ title, subtitle, unit, parts, bars }: BarPlot): string {
  const sums = bars.map(({ values }) => values.reduce((sum, value) => sum + value, 0));
  const isDrawable = bars.every(({ values }) =>
    values.every((value) => Number.isFinite(value) && value >= 0),
  );
  if (bars.length === 0 || !isDrawable) throw new RangeError('a plot needs bars of finite values from 0 on');
  const scale = (width - left - right) / Math.max(...sums, Number.MIN_VALUE);
  const bottom = top + bars.length * rowHeight;
  const rows = bars.flatMap(({ name, values }, index) => {
    const y = top + index * rowHeight;
    const sum = sums[index] ?? 0;
    return [
      text(left - 8, y + 19, name, 'text-anchor="end"'),
      ...pieces(values, y, scale),
      text(left + sum * scale + 6, y + 19, `${shown(sum)} ${unit}`, 'fill="#444"'),
    ];
  });
  const height = bottom + 44;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" role="img" aria-label="${escaped(title)}">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(16, 26, title, 'font-size="16" font-weight="bold"'),
    text(16, 46, subtitle, 'fill="#666"'),
    ...rows,
    ...(parts.length > 1 ? legend(parts, bottom + 26) : []),
    '</svg>\n',
  ].join('\n');
}

function pieces(values: readonly number[], y: number, scale: number): string[] {
  let x = left;
  return values.map((value, part) => {
    const piece = `<rect x="${round(x)}" y="${y + 5}" width="${round(value * scale)}" height="${rowHeight - 10}" fill="${colourOf(part)}"/>`;
    x += value * scale;
    return piece;
  });
}

function legend(parts: readonly string[], y: number): string[] {
  let x = 16;
  return parts.flatMap((name, part) => {
    const row = [
      `<rect x="${x}" y="${y - 9}" width="14" height="10" fill="${colourOf(part)}"/>`,
      text(x + 20, y, name, ''),
    ];
    x += 20 + name.length * 7 + 20;
    return row;
  });
}

function text(x: number, y: number, content: string, more: string): string {
  return `<text x="${round(x)}" y="${round(y)}" ${more}>${escaped(content)}</text>`;
}

function shown(value: number): string {
  return value >= 10 ? value.toFixed(0) : value.toFixed(1);
}

function colourOf(part: number): string {
  return colours[part % colours.length] ?? '#000';
}

function escaped(content: string): string {
  return content.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
