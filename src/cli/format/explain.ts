import type { Row } from '../../services/diagnostics/explain.ts';
import { layOut, pipe, type Terminal } from './terminal.ts';

/** An entry of the catalogues: its name, then one row for each fact. */
export function explainLines(
  { name, rows }: { readonly name: string; readonly rows: readonly Row[] },
  terminal: Terminal = pipe,
): string[] {
  const width = Math.max(...rows.map(([label]) => label.length));
  const lines = rows.map(([label, text]) => ({ text: `${label.padEnd(width)}  ${text}`, hang: width + 2 }));
  return layOut([name, ...lines], terminal);
}
