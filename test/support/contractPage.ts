import { readFileSync } from 'node:fs';

const page = readFileSync(new URL('../../docs/contract.md', import.meta.url), 'utf8');

/** Text of a section of docs/contract.md, from its heading to the next. */
export function section(title: string): string {
  const [, rest = ''] = page.split(`\n## ${title}\n`);
  return rest.split('\n## ')[0] ?? '';
}

/** Rows of all tables of a text, without their heads. */
export function rowsOf(text: string): string[][] {
  return text
    .split('\n')
    .filter(
      (line, index, all) =>
        line.startsWith('|') && !/^\| ?-/.test(line) && !/^\| ?-/.test(all[index + 1] ?? ''),
    )
    .map((line) => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '')));
}
