import { expect, test } from 'vitest';
import { commandsOfProgram, optionsOfProgram } from '../../../packaging/commands.ts';
import { manual } from '../../../packaging/manual.ts';
import { exit } from '../../../src/cli/options.ts';
import { settingKeys } from '../../../src/config/schema.ts';
import { catalogue } from '../../../src/errors/catalogue.ts';

const commands = commandsOfProgram();
/** As a reader sees its words: without the marks of roff. */
const page = manual('1.2.3', '2026-11-28', commands)
  .replaceAll('\\-', '-')
  .replace(/\\f[BRI]/g, '');
const terms = [...page.matchAll(/^\.(?:TP|TQ)\n\.[BI]+R? (.*)$/gm)].map(([, term = '']) =>
  term.replaceAll('"', ''),
);

test('the manual has every command, option, key and error code as an entry', () => {
  const options = [...optionsOfProgram(), ...commands.flatMap((command) => command.options)];
  for (const name of [
    ...commands.map(({ usage }) => usage),
    ...options.flatMap(({ names }) => names),
    ...settingKeys,
    ...Object.keys(catalogue),
  ])
    expect(
      terms.some((term) => [name, ...name.split(', ')].some((one) => ` ${term},`.includes(` ${one}`))),
      name,
    ).toBe(true);
});

test('the manual has every exit status', () => {
  const [, statuses = ''] = /\.SH EXIT STATUS\n([\s\S]*?)\n\.SH/.exec(page) ?? [];
  const listed = [...statuses.matchAll(/^\.TP\n\.B (\d+)$/gm)].map(([, status]) => Number(status));
  expect(listed).toEqual(Object.values(exit).sort((one, other) => one - other));
});

test('no sentence of the manual ends in its middle', () => {
  const entries = page.split(/^\.(?:TP|TQ|SH|PP|RS|RE)\b.*$/m).slice(1);
  const ends = entries
    .map((text) => text.trim().split('\n').at(-1) ?? '')
    .filter((line) => line !== '' && !/^[.'@]|^[A-Z -]+$|^onboardd - take/.test(line));
  expect(ends.filter((line) => !/[.:?]$/.test(line))).toEqual([]);
});

test('no word and no example of the manual is wider than a terminal of 80 columns', () => {
  const examples = [...page.matchAll(/^\.EX\n([\s\S]*?)^\.EE$/gm)].flatMap(([, text = '']) =>
    text.split('\n'),
  );
  // They stand 11 columns in, the text of an option 14 or more.
  expect(examples.filter((line) => line.length > 69)).toEqual([]);
  expect(page.split(/\s+/).filter((word) => word.length > 60)).toEqual([]);
});
