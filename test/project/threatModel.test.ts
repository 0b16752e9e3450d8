import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(`${root}docs/threat-model.md`, 'utf8');
const named = [...page.matchAll(/^- `(test\/[^`]+)`: “(.+)”$/gm)].map(([, file = '', title = '']) => ({
  file,
  title,
}));

test.each(named)('$file has the test that the threat model names: $title', ({ file, title }) => {
  const source = readFileSync(`${root}${file}`, 'utf8');
  expect(["'", '"', '`'].some((quote) => source.includes(`${quote}${title}${quote}`))).toBe(true);
});

test('every attacker of the threat model has a promise, what remains possible, and tests', () => {
  const attackers = page
    .split(/^## /m)
    .slice(1)
    .filter((section) => !/^(What is trust on first use|Denial of service)/.test(section));
  expect(attackers).toHaveLength(9);
  for (const section of attackers) {
    const parts = ['**Promised.**', '**Remains possible.**', '**Tests.**\n\n- `test/'];
    expect(
      parts.filter((part) => !section.includes(part)),
      section.split('\n')[0],
    ).toEqual([]);
  }
  const lines = page.split('\n').filter((line) => line.startsWith('- `test/'));
  expect(lines, 'each in the form that is looked up').toHaveLength(named.length);
});

test('every attack is named in the threat model', () => {
  const attacks = ['test/integration/attacks', 'test/reliability/attacks'].flatMap((folder) =>
    readdirSync(`${root}${folder}`)
      .filter((name) => /\.(test|attack)\.ts$/.test(name))
      .map((name) => `${folder}/${name}`),
  );
  expect(attacks.length).toBeGreaterThan(8);
  expect(attacks.filter((attack) => !named.some(({ file }) => file === attack))).toEqual([]);
});
