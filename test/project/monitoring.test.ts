import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { journalField } from '../../src/adapters/nativeJournal.ts';
import { catalogue } from '../../src/errors/catalogue.ts';
import { commonFields, events } from '../../src/events.ts';

const folder = fileURLToPath(new URL('../../docs/monitoring', import.meta.url));
const files = readdirSync(folder);
const read = (file: string) => readFileSync(join(folder, file), 'utf8');
const fields = new Set([
  ...Object.keys(commonFields),
  ...Object.values(events).flatMap(({ fields }) => Object.keys(fields)),
]);
/** What collectors add, and Loki's own. */
const added = new Set(['job', 'host', 'labels', 'value']);

const matches = (text: string, ...patterns: RegExp[]) =>
  patterns.flatMap((pattern) => [...text.matchAll(pattern)].map(([, name = '']) => name));

/** These name the fields of other worlds, and have tests of their own. */
const foreign = ['field-names.md', 'otel-collector.yaml'];

test.each(
  files.filter((file) => !foreign.includes(file)),
)('%s names events, fields and codes of the catalogue alone', (file) => {
  const text = read(file);
  const named = matches(
    text,
    /\bevent ?(?:==|=|:) ?\\?["']?([a-z]+\.[a-z]+)/g,
    /"([a-z]+\.(?!service)[a-z]+)"/g,
  );
  for (const event of named) expect(Object.keys(events), file).toContain(event);
  const used = matches(
    text,
    /\$!([a-zA-Z]+)\b(?!-)/g,
    /\\?\| ([a-zA-Z]+) ?!?=/g,
    /\bunwrap ([a-zA-Z]+)/g,
    /\{\{ ?\.?\$?(?:labels\.)?([a-zA-Z]+) ?\}\}/g,
    /"field": "([a-zA-Z]+)"/g,
  ).concat(matches(text, /\bby \(([^)]*)\)/g).flatMap((names) => names.split(/,\s*/)));
  for (const field of used.filter((name) => name !== '' && name !== 'all' && !added.has(name)))
    expect(fields, `${file}: ${field}`).toContain(field);
  for (const code of matches(text, /code="([A-Z_]+)"/g, /explain ([A-Z_]{5,})/g))
    expect(Object.keys(catalogue), file).toContain(code);
});

test('the lnav format knows every field of the catalogue but two, whose names its SQL takes for its own words', () => {
  const { onboardd_log: format } = JSON.parse(read('onboardd.lnav.json'));
  expect(new Set([...Object.keys(format.value), 'from', 'to'])).toEqual(fields);
});

test('every alert is named for the event that it rests on', () => {
  const rules = read('loki-rules.yaml')
    .split(/^ {6}- alert: /m)
    .slice(1);
  expect(rules.length).toBeGreaterThan(4);
  for (const rule of rules) {
    const [name = ''] = rule.split('\n');
    const [event = ''] = matches(rule, /^ +event: ([a-z.]+)$/gm);
    const words = event.split('.').map((word) => word[0]?.toUpperCase() + word.slice(1));
    expect(name).toMatch(new RegExp(`^Onboardd${words.join('')}`));
    expect(rule).toContain(`event="${event}"`);
    expect(read('README.md')).toContain(`\`${name}\``);
  }
});

test('the field names page has every common field and every field of a failure, under its name in the journal', () => {
  const rows = [...read('field-names.md').matchAll(/^\| `(\w+)` \| ([^|]*) \|/gm)].map(
    ([, name = '', journal = '']) => [name, journal] as const,
  );
  const named = new Map(rows);
  const wanted = [
    ...Object.keys(commonFields),
    ...Object.keys(events['step.failed'].fields),
    'remedy',
    'pid',
  ];
  expect(wanted.filter((name) => !named.has(name))).toEqual([]);
  for (const [name, journal] of named)
    if (!['message', 'level'].includes(name)) expect(journal, name).toContain(`\`${journalField(name)}\``);
});

test('the collector reads journal fields of the catalogue only', () => {
  const known = new Set([...fields].map(journalField));
  const used = matches(read('otel-collector.yaml'), /\b(ONBOARDD_[A-Z_]+)/g);
  expect(used.length).toBeGreaterThan(10);
  expect(used.filter((name) => !known.has(name))).toEqual([]);
});

test('the pipeline of the collector names what the file defines', () => {
  const { service, ...sections } = parse(read('otel-collector.yaml'));
  for (const kind of ['receivers', 'processors', 'exporters'] as const) {
    expect(Object.keys(sections)).toContain(kind);
    expect(service.pipelines.logs[kind]).toEqual(Object.keys(sections[kind]));
  }
});
