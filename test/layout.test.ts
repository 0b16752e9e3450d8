import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { eventsPage, eventsSchema, generatedReadme } from '../scripts/docs.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const source = join(root, 'src');
const leaves = [
  'config.ts',
  'errors.ts',
  'events.ts',
  'json.ts',
  'natsAddress.ts',
  'plainText.ts',
  'trouble.ts',
];

/** Room → what its files may import of the project. */
const allowed: Record<string, (from: string, typeOnly: boolean) => boolean> = {
  'config.ts': (to) => to === 'natsAddress.ts',
  'errors.ts': () => false,
  'events.ts': (_, typeOnly) => typeOnly,
  'json.ts': () => false,
  'jsonFlaw.ts': () => false,
  'natsAddress.ts': () => false,
  'plainText.ts': () => false,
  'trouble.ts': (to) => to === 'errors.ts',
  machines: (to) => to.startsWith('machines/') || to === 'errors.ts',
  services: (to) => /^(services|machines)\//.test(to) || leaves.includes(to),
  adapters: (to, typeOnly) =>
    to === 'errors.ts' ||
    to.startsWith('adapters/nats') ||
    ['jsonFlaw.ts', 'natsAddress.ts', 'plainText.ts', 'trouble.ts'].includes(to) ||
    (typeOnly && (/^(config|events)\.ts$/.test(to) || to.startsWith('services/'))),
  'main.ts': () => true,
  commands: (to) => to !== 'main.ts',
  'run.ts': (to) => to !== 'main.ts',
  'daemon.ts': (to, typeOnly) => typeOnly || /^(services|machines)\/|^(errors|wiring)\.ts$/.test(to),
  'stateDirectory.ts': (to, typeOnly) =>
    typeOnly || /^(adapters\/(files|lock|stateFolder)|services\/ownFiles|errors)\.ts$/.test(to),
  'wiring.ts': (to, typeOnly) => typeOnly || /^(services|machines)\//.test(to),
};

const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.ts'),
);

test.each(files)('%s imports only what its room allows', (file) => {
  const rule = allowed[file.split('/')[0] ?? ''];
  expect(rule, 'a room that is not known').toBeDefined();
  const text = readFileSync(join(source, file), 'utf8');
  const own = [...text.matchAll(/^(?:import|export) (type )?[^;]*? from '(\.[^']+)';/gms)];
  const wrong = own
    .map(([, typeOnly, to = '']) => ({
      typeOnly: typeOnly !== undefined,
      to: relative(source, join(source, dirname(file), to)),
    }))
    .filter(({ to, typeOnly }) => !rule?.(to, typeOnly));
  expect(wrong).toEqual([]);
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

test('the pages of events are those of the catalogue (npm run docs)', () => {
  expect(readFileSync(join(root, 'docs/events.md'), 'utf8')).toBe(eventsPage());
  expect(readFileSync(join(root, 'docs/events.schema.json'), 'utf8')).toBe(eventsSchema());
});

test('the lock file names no registry', () => {
  expect(readFileSync(join(root, 'package-lock.json'), 'utf8')).not.toMatch(
    /"resolved"|https?:\/\/[^"]*\.tgz/,
  );
});
