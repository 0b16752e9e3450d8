import { styleText } from 'node:util';

/** Where text is shown. */
export interface Terminal {
  /** Width; null: not a terminal, so lines are never wrapped */
  readonly columns: number | null;
  readonly colour: boolean;
  /** Whether arrows and bars can be shown; ASCII stands in for them otherwise */
  readonly unicode: boolean;
}

/** A file or a pipe whose reader is unknown. */
export const pipe: Terminal = { columns: null, colour: false, unicode: false };

/** One line, wrapped to the width of a terminal. A plain string is a line that is never wrapped, such as a table row. */
export interface Line {
  readonly text: string;
  /** Indent of continuation lines, columns; 0 by default */
  readonly hang?: number;
  /** Put on a line of its own on a terminal, appended elsewhere */
  readonly more?: string;
  /** Colour of `word`, which the line holds */
  readonly tone?: { readonly word: string; readonly as: Tone };
}

export type Tone = 'good' | 'bad' | 'warning';

const colours = { good: 'green', bad: 'red', warning: 'yellow' } as const;
const narrowest = 20;

/**
 * What a stream can show. Colours need a terminal that is not `dumb`, and are off if NO_COLOR is set (no-color.org).
 *
 * @param env the process's environment
 */
export function terminalOf(
  stream: { readonly isTTY?: boolean; readonly columns?: number },
  env: Readonly<Record<string, string | undefined>>,
): Terminal {
  const isTerminal = stream.isTTY === true;
  return {
    columns: isTerminal ? Math.max(narrowest, stream.columns || 80) : null,
    colour: isTerminal && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb',
    unicode: isUtf8Locale(env),
  };
}

/** POSIX: the first of LC_ALL, LC_CTYPE and LANG that is set and not empty decides; without any it is the C locale. */
export function isUtf8Locale(env: Readonly<Record<string, string | undefined>>): boolean {
  return /utf-?8/i.test(env.LC_ALL || env.LC_CTYPE || env.LANG || '');
}

const substitutes: Readonly<Record<string, string>> = {
  '\u2192': '->',
  '\u2588': '#',
  '\u2591': '.',
  '\u2026': '...',
  '\u00b7': '-',
  '\u2013': '-',
  '\u2014': '-',
};

/** ASCII in place of the arrows, bars and ellipses of our own output; other characters stay as they are. */
export function toAscii(text: string): string {
  return text.replace(
    /[\u2192\u2588\u2591\u2026\u00b7\u2013\u2014]/g,
    (symbol) => substitutes[symbol] ?? symbol,
  );
}

/** The lines as the terminal shows them. */
export function layOut(lines: readonly (string | Line)[], terminal: Terminal): string[] {
  return lines.flatMap((line) => {
    if (typeof line === 'string') return [inCharset(line, terminal)];
    const { text, hang = 0, more, tone } = line;
    const { columns, colour } = terminal;
    const first = inCharset(text, terminal);
    const second = more === undefined ? null : inCharset(more, terminal);
    if (columns === null) return [second === null ? first : `${first} ${second}`];
    const wrapped = [
      ...wrap(first, columns, hang),
      ...(second === null ? [] : wrap(`${' '.repeat(hang)}${second}`, columns, hang)),
    ];
    return tone && colour ? wrapped.map((part, index) => (index === 0 ? toned(part, tone) : part)) : wrapped;
  });
}

function inCharset(text: string, { unicode }: Terminal): string {
  return unicode ? text : toAscii(text);
}

function toned(text: string, { word, as }: NonNullable<Line['tone']>): string {
  // A function: a `$` in the text has no meaning.
  return text.replace(word, () => styleText(colours[as], word, { validateStream: false }));
}

/**
 * Breaks at spaces. A word that is longer than a line stays whole, so that a path or a subject can be copied.
 *
 * @param hang indent of all lines but the first
 */
export function wrap(text: string, columns: number, hang: number): string[] {
  const lines: string[] = [];
  let rest = text;
  let indent = '';
  while (indent.length + rest.length > columns) {
    const room = columns - indent.length;
    // A break within the leading head (spaces that align columns) would leave a line without text.
    const start = indent === '' ? Math.max(hang, rest.search(/\S/)) : 0;
    const before = rest.lastIndexOf(' ', room);
    const at = before > start ? before : rest.indexOf(' ', Math.max(room, start));
    if (at < 0) break;
    lines.push(`${indent}${rest.slice(0, at).trimEnd()}`);
    rest = rest.slice(at).trimStart();
    indent = ' '.repeat(hang);
  }
  return [...lines, `${indent}${rest}`];
}
