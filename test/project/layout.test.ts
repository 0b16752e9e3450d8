import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { eventsPage, eventsSchema, generatedReadme, journalCatalogue } from '../../scripts/docs.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const source = join(root, 'src');
/** Room → the rooms that its files may import from besides their own; `type` for types alone. Nothing points upwards. */
const rooms: Readonly<Record<string, Readonly<Record<string, 'all' | 'type'>>>> = {
  text: {},
  'events.ts': { errors: 'type' },
  errors: { text: 'all' },
  config: { text: 'all' },
  machines: { errors: 'all' },
  'services/state': { errors: 'all', machines: 'type', 'events.ts': 'all', text: 'all' },
  'services/onboarding': {
    'services/state': 'all',
    machines: 'all',
    errors: 'all',
    config: 'all',
    text: 'all',
  },
  'services/diagnostics': {
    'services/onboarding': 'all',
    'services/state': 'all',
    'events.ts': 'all',
    errors: 'all',
    config: 'all',
    text: 'all',
  },
  // It runs on an operator's machine: of the daemon it knows what the log may hold, and nothing else.
  'services/fleetReport': { 'events.ts': 'all', errors: 'all' },
  // The optional part, bundled by itself: of the program it takes the types, and is loaded by the adapter beside it.
  pkcs11: { config: 'type' },
  adapters: {
    'adapters/keys': 'all',
    'adapters/net': 'all',
    errors: 'all',
    text: 'all',
    config: 'all',
    'events.ts': 'type',
    services: 'type',
  },
  'adapters/keys': { errors: 'all', config: 'all', 'services/state': 'all', pkcs11: 'type' },
  'adapters/net': { 'adapters/keys': 'all', errors: 'all', config: 'all' },
  'adapters/disk': { errors: 'all', 'services/state': 'all', services: 'type' },
  'adapters/nats': {
    'adapters/keys': 'all',
    'adapters/net': 'all',
    errors: 'all',
    config: 'all',
    text: 'all',
    services: 'type',
  },
  daemon: {
    adapters: 'all',
    services: 'all',
    machines: 'all',
    'events.ts': 'all',
    errors: 'all',
    config: 'all',
  },
  'cli/format': {
    'services/diagnostics': 'all',
    'services/fleetReport': 'all',
    'events.ts': 'all',
    text: 'all',
  },
  cli: {
    'cli/format': 'all',
    daemon: 'all',
    adapters: 'all',
    services: 'all',
    'events.ts': 'all',
    errors: 'all',
    config: 'all',
    text: 'all',
  },
  'launch.ts': {},
  'main.ts': { cli: 'all', adapters: 'all', errors: 'all', text: 'all' },
};

/** The room of a file, the narrowest that there is. */
function roomOf(file: string): string | undefined {
  return Object.keys(rooms)
    .filter((room) => file === room || file.startsWith(`${room}/`))
    .sort((a, b) => b.length - a.length)[0];
}

function isAllowed(from: string, to: string, typeOnly: boolean): boolean {
  const [own = '', other = ''] = [roomOf(from), roomOf(to)];
  if (own === other) return true;
  const wide = other.split('/')[0] ?? other;
  const right = rooms[own]?.[other] ?? rooms[own]?.[wide];
  return right === 'all' || (right === 'type' && typeOnly);
}

/** The files of the project that a file imports, as paths below src/; types, too, but not what is loaded when it is needed. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(source, file), 'utf8');
  return [...text.matchAll(/^(?:import|export) [^;]*? from '(\.[^']+)';/gms)].map(([, to = '']) =>
    relative(source, join(source, dirname(file), to)),
  );
}

const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.ts'),
);

test.each(files)('%s imports only what its room allows', (file) => {
  expect(roomOf(file), 'a room that is not known').toBeDefined();
  const text = readFileSync(join(source, file), 'utf8');
  const own = [...text.matchAll(/^(?:import|export) (type )?[^;]*? from '(\.[^']+)';/gms)];
  const wrong = own
    .map(([, typeOnly, to = '']) => ({
      typeOnly: typeOnly !== undefined,
      to: relative(source, join(source, dirname(file), to)),
    }))
    .filter(({ to, typeOnly }) => !isAllowed(file, to, typeOnly));
  expect(wrong).toEqual([]);
});

test('no file imports itself, however far the way round, not even for a type', () => {
  const known = new Map<string, 'open' | 'done'>();
  const walk = (file: string, path: readonly string[]): string[] => {
    if (known.get(file) === 'open') return [[...path.slice(path.indexOf(file)), file].join(' -> ')];
    if (known.get(file) === 'done') return [];
    known.set(file, 'open');
    const circles = importsOf(file).flatMap((next) => walk(next, [...path, file]));
    known.set(file, 'done');
    return circles;
  };
  expect(files.flatMap((file) => walk(file, []))).toEqual([]);
});

test('machines and services reach time, chance, disk and network through adapters alone', () => {
  for (const file of files.filter((name) => /^(machines|services)\//.test(name))) {
    const text = readFileSync(join(source, file), 'utf8');
    expect(text, file).not.toMatch(/Date\.now|Math\.random|setTimeout|from 'node:|new Date\(\)/);
  }
});

test('the README’s statechart and tables are those of the source (npm run docs)', () => {
  const text = readFileSync(join(root, 'README.md'), 'utf8');
  expect(generatedReadme(text)).toBe(text);
});

test('the map in the README names every room, and nothing that is not there', () => {
  const text = readFileSync(join(root, 'README.md'), 'utf8');
  const [, map = ''] = text.split('## Where things are');
  const named = [...map.matchAll(/`(src\/[^`]*)`/g)].map(([, path = '']) => path);
  const expected = Object.keys(rooms).map((room) => (room.endsWith('.ts') ? `src/${room}` : `src/${room}/`));
  expect(expected.filter((path) => !named.includes(path) && path !== 'src/cli/format/')).toEqual([]);
  expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

test('the map in the README names every folder of the repository and every page of docs', () => {
  const text = readFileSync(join(root, 'README.md'), 'utf8');
  const [, map = ''] = text.split('## Where things are');
  const ignored = readFileSync(join(root, '.gitignore'), 'utf8').split('\n');
  const folders = readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map(({ name }) => `${name}/`)
    .filter((name) => !['src/', 'docs/', ...ignored].includes(name));
  const pages = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'));
  const expected = [...folders, ...pages.map((name) => `docs/${name}`)];
  expect(expected.filter((path) => !map.includes(`\`${path}\``))).toEqual([]);
});

test('the pages of events are those of the catalogue (npm run docs)', () => {
  expect(readFileSync(join(root, 'docs/events.md'), 'utf8')).toBe(eventsPage());
  expect(readFileSync(join(root, 'docs/events.schema.json'), 'utf8')).toBe(eventsSchema());
  expect(readFileSync(join(root, 'packaging/lib/onboardd.catalog'), 'utf8')).toBe(journalCatalogue());
});

test('the lock file names no registry', () => {
  expect(readFileSync(join(root, 'package-lock.json'), 'utf8')).not.toMatch(
    /"resolved"|https?:\/\/[^"]*\.tgz/,
  );
});

test('the workbench fleet imports nothing of the tests', () => {
  const names = readdirSync(join(root, 'fleet'), { recursive: true, encoding: 'utf8' });
  const foreign = names
    .filter((name) => /\.tsx?$/.test(name))
    .filter((name) => /from '[./]*\/test\//.test(readFileSync(join(root, 'fleet', name), 'utf8')));
  expect(foreign).toEqual([]);
});
