/** Holds the pages that are written by hand to the source: what they name exists, what they link to is there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { catalogue } from '../../src/errors/catalogue.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const readIfThere = (path: string) => (existsSync(join(root, path)) ? read(path) : null);

/** List items, table rows and paragraphs: each is one claim about the files that it names. */
function claimsOf(page: string): string[] {
  return page
    .replace(/^```[\s\S]*?^```$/gm, '')
    .split(/\n(?=\s*(?:\d+\.|-|\|) )|\n\n/)
    .filter((claim) => claim.includes('`'));
}

/**
 * Reads `path/file.ts` and `name()` of each claim.
 *
 * @returns what is wrong: a file that does not exist, or a function that none of the claim's files contains
 */
function untrueClaims(page: string, source: (path: string) => string | null): string[] {
  return claimsOf(page).flatMap((claim) => {
    const files = [...claim.matchAll(/`((?:src|test|scripts|packaging)\/[^`]*\.m?ts)`/g)].map(
      ([, path = '']) => path,
    );
    const names = [...claim.matchAll(/`([A-Za-z]+)\(\)`/g)].map(([, name = '']) => name);
    const texts = files.map((path) => ({ path, text: source(path) }));
    const missing = texts.filter(({ text }) => text === null).map(({ path }) => `${path} does not exist`);
    const unknown = names
      .filter((name) => !texts.some(({ text }) => text !== null && new RegExp(`\\b${name}\\b`).test(text)))
      .map((name) => `${name}() is in none of: ${files.join(', ') || 'no file is named'}`);
    return [...missing, ...unknown];
  });
}

test('a page that names a file or a function that does not exist is caught', () => {
  const source = (path: string) => (path === 'src/a.ts' ? 'function known() {}' : null);
  expect(untrueClaims('1. `known()` in `src/a.ts`', source)).toEqual([]);
  expect(untrueClaims('1. `known()` in `src/a.ts`\n2. `gone()` in `src/a.ts`', source)).toHaveLength(1);
  expect(untrueClaims('| where | `src/gone.ts` |', source)).toEqual(['src/gone.ts does not exist']);
  expect(untrueClaims('- `known()` somewhere', source)).toHaveLength(1);
});

test.each([
  ['docs/architecture.md', 40],
  ['CONTRIBUTING.md', 4],
])('every file and function that %s names exists', (path, least) => {
  const page = read(path);
  expect(page.match(/`[A-Za-z]+\(\)`|`src\/[^`]*\.ts`/g)?.length).toBeGreaterThanOrEqual(least);
  expect(untrueClaims(page, readIfThere)).toEqual([]);
});

test('the architecture page names every room of the source', () => {
  const page = read('docs/architecture.md');
  const folders = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => `${name}/`);
  expect(folders.filter((name) => !page.includes(name))).toEqual([]);
});

test('a part of the protocol that the source cites is a part of the page', () => {
  const parts = [...read('docs/protocol.md').matchAll(/^## (\d+)\. /gm)].map(([, part]) => part);
  const cited = ['src', 'test'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .flatMap((name) => [...read(join(folder, name)).matchAll(/protocol\.md, parts? (\d)(?: and (\d))?/g)])
      .flatMap(([, first, second]) => [first, second].filter((part) => part !== undefined)),
  );
  expect(cited.length).toBeGreaterThan(4);
  expect(cited.filter((part) => !parts.includes(part))).toEqual([]);
});

test('the index of decisions lists every record, with its title and date', () => {
  const records = readdirSync(join(root, 'docs/decisions')).filter((name) => /^\d{4}-.*\.md$/.test(name));
  const rows = records.map((name) => {
    const text = read(`docs/decisions/${name}`);
    const [, title = ''] = /^# (.+)$/m.exec(text) ?? [];
    const [, date = '', status = ''] = /^Date: (\d{4}-\d\d-\d\d)\. Status: (.+)\.$/m.exec(text) ?? [];
    for (const part of ['Context', 'Decision', 'Consequences'])
      expect(text, name).toContain(`\n## ${part}\n`);
    return `| [${title}](${name}) | ${date} | ${status} |`;
  });
  const listed = read('docs/decisions/README.md').match(/^\| \[.*$/gm);
  expect(listed).toEqual(rows.sort());
});

/** GitHub's name of a heading: lower case, without punctuation, blanks as hyphens. */
function anchorsOf(page: string): string[] {
  return [...page.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

test('each error code is on the troubleshooting page, and one that another machine causes is a fault of test:network', () => {
  const page = read('docs/troubleshooting.md');
  const codes = Object.keys(catalogue);
  expect(codes.filter((code) => !page.includes(code))).toEqual([]);
  const folder = 'test/reliability/network';
  const rows = readdirSync(join(root, folder)).map((name) => read(join(folder, name)));
  const ofTheDevice = /^(CONFIG|STATE|INTERNAL)/;
  const unprovoked = codes.filter((code) => !rows.some((text) => text.includes(code)));
  expect(unprovoked.filter((code) => !ofTheDevice.test(code))).toEqual([]);
});

const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md', 'docs'].flatMap((path) =>
  path === 'docs'
    ? readdirSync(join(root, path), { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.md'))
        .map((name) => join(path, name))
    : [path],
);

test.each(pages)('every link of %s leads somewhere', (path) => {
  const text = read(path);
  const links = [...text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)/g)];
  const broken = links.filter(([, target = '', anchor]) => {
    const file = target === '' ? path : join(dirname(path), target);
    if (!existsSync(join(root, file))) return true;
    return anchor !== undefined && !anchorsOf(read(file)).includes(anchor);
  });
  expect(broken.map(([link]) => link)).toEqual([]);
});
