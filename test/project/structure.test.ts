/** Holds the shape of source and tests: what mirrors what, and how long a function may be. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const filesOf = (folder: string) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(root.length + folder.length + 1));

test.each(filesOf('test/unit'))('test/unit/%s is the test of a file of src', (file) => {
  expect(file).toMatch(/\.test\.ts$/);
  expect(existsSync(join(root, 'src', file.replace(/\.test\.ts$/, '.ts')))).toBe(true);
});

test.each([
  'test/unit',
  'test/integration',
])('no test in %s replaces a module, which the files after it would share', (folder) => {
  const replacing = filesOf(folder).filter((file) =>
    /\bvi\.(mock|doMock)\(/.test(readFileSync(join(root, folder, file), 'utf8')),
  );
  expect(replacing).toEqual([]);
});

const mostLines = 60;
const mostParameters = 4;
/** The chart: data on two pages, with no branch in it. */
const chart = ['machines/onboarding.ts onboarding', 'machines/registered.ts registered'];

interface Measured {
  readonly name: string;
  readonly lines: number;
  readonly parameters: number;
}

function functionsOf(file: string, text: string): Measured[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: Measured[] = [];
  const lineAt = (position: number) => source.getLineAndCharacterOfPosition(position).line;
  const visit = (node: ts.Node) => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body) {
      const { parent } = node;
      const named = node.name ?? (ts.isVariableDeclaration(parent) ? parent.name : undefined);
      found.push({
        name: `${file} ${named?.getText(source) ?? '(anonymous)'}`,
        lines: lineAt(node.end) - lineAt(node.getStart(source)) + 1,
        parameters: node.parameters.length,
      });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const functions = filesOf('src').flatMap((file) =>
  functionsOf(file, readFileSync(join(root, 'src', file), 'utf8')),
);

test('long functions and those with many parameters are seen, however they are written', () => {
  const long = `{\n${'x();\n'.repeat(60)}}`;
  const seen = functionsOf(
    'a.ts',
    `function a() ${long}\nconst b = (p, q, r, s, t) => 1;\nclass C { d() ${long} }`,
  );
  expect(seen).toEqual([
    { name: 'a.ts a', lines: 62, parameters: 0 },
    { name: 'a.ts b', lines: 1, parameters: 5 },
    { name: 'a.ts d', lines: 62, parameters: 0 },
  ]);
  expect(functions.length).toBeGreaterThan(300);
});

const over = (isOver: (one: Measured) => boolean) =>
  functions
    .filter(isOver)
    .map(({ name }) => name)
    .filter((name) => !chart.includes(name))
    .sort();

test(`no function of src is longer than ${mostLines} lines`, () => {
  expect(over(({ lines }) => lines > mostLines)).toEqual([]);
});

test(`no function of src has more than ${mostParameters} parameters`, () => {
  expect(over(({ parameters }) => parameters > mostParameters)).toEqual([]);
});

test('every folder of long suites says what it does, how long it takes and what it needs', () => {
  const folders = readdirSync(join(root, 'test/reliability'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  const table = readFileSync(join(root, 'test/README.md'), 'utf8');
  for (const folder of folders) {
    const page = readFileSync(join(root, 'test/reliability', folder, 'README.md'), 'utf8');
    expect(page).toMatch(/^`npm run test:[\s\S]*^- takes: .+\n- needs: .+$/m);
    expect(table).toContain(`(reliability/${folder}/README.md)`);
  }
});

test.each([
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'test/README.md',
  'docs/reliability.md',
  '.ci/run',
])('every command that %s names is one of package.json', (file) => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const named = [...readFileSync(join(root, file), 'utf8').matchAll(/npm run ([a-z:-]+)/g)];
  expect(named.map(([, name = '']) => name).filter((name) => scripts[name] === undefined)).toEqual([]);
});

test('each suite is a row of the pages about tests, and each command is on a page', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: object };
  const pagesOf = (folder: string) =>
    readdirSync(join(root, folder), { encoding: 'utf8' })
      .filter((name) => name.endsWith('.md'))
      .map((name) => readFileSync(join(root, folder, name), 'utf8'));
  const names = (page: string, name: string) => new RegExp(`\\bnpm (run )?${name}(?![\\w:-])`).test(page);
  const suites = Object.keys(scripts).filter((name) => name.startsWith('test:') || name === 'coverage');
  for (const file of ['test/README.md', 'CONTRIBUTING.md']) {
    const page = readFileSync(join(root, file), 'utf8');
    expect(
      suites.filter((name) => !names(page, name)),
      file,
    ).toEqual([]);
  }
  const pages = [...pagesOf('.'), ...pagesOf('docs')];
  const nowhere = Object.keys(scripts).filter((name) => !pages.some((page) => names(page, name)));
  expect(nowhere).toEqual([]);
});

test('what gates a change runs each long suite that test/README.md lists', () => {
  const [, suites = ''] = readFileSync(join(root, 'test/README.md'), 'utf8').split('## Long suites');
  const [table = ''] = suites.split('\n## ');
  const commands = [...table.matchAll(/\| `npm run ([a-z:-]+)` \|/g)].map(([, name = '']) => name);
  const gate = readFileSync(join(root, '.ci/run'), 'utf8');
  expect(commands.length).toBeGreaterThan(20);
  const isRun = (name: string) => new RegExp(`npm run ${name}(?![a-z:-])`).test(gate);
  expect(commands.filter((name) => !isRun(name))).toEqual([]);
});

test('every file that a command of package.json runs exists', () => {
  const text = readFileSync(join(root, 'package.json'), 'utf8');
  const files = [...text.matchAll(/\b(?:test|scripts|packaging)\/[\w/]+\.(?:ts|mjs)/g)].map(([file]) => file);
  expect(files.length).toBeGreaterThan(15);
  expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
});
