import { readFileSync, writeFileSync } from 'node:fs';
import { commitMeasured } from './commit.ts';

const file = new URL('../../docs/reliability.md', import.meta.url);

/**
 * Puts the lines of a run into their place in docs/reliability.md, between `<!-- name -->` and `<!-- /name -->`, with the
 * day, the commit and the command that made them.
 *
 * @param script of package.json; the command's arguments are this process's own
 * @throws {Error} where the document has no such place
 */
export function writeSection(name: string, script: string, lines: readonly string[]): void {
  const command = `npm run ${script} -- ${process.argv.slice(2).join(' ')}`;
  const text = readFileSync(file, 'utf8');
  const [begin, end] = [`<!-- ${name} -->\n`, `<!-- /${name} -->`];
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`docs/reliability.md has no place for ${name}`);
  const day = new Date().toISOString().slice(0, 10);
  const section = ['', `Run of ${day} on ${commitMeasured()}, \`${command}\`:`, '', ...lines, ''].join('\n');
  writeFileSync(file, `${text.slice(0, from + begin.length)}${section}\n${text.slice(to)}`);
}
