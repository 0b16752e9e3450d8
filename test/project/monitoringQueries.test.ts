import { readFileSync } from 'node:fs';
import { parser } from '@grafana/lezer-logql';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { journalField } from '../../src/adapters/nativeJournal.ts';
import { commonFields, events } from '../../src/events.ts';
import {
  dashboard,
  dashboardQueries,
  logQueries,
  monitoringFile,
  type Panel,
  rulesOf,
} from '../support/monitoringQueries.ts';

/** Where Grafana's parser finds an error. */
function errorsOf(query: string): string[] {
  const errors: string[] = [];
  parser.parse(query).iterate({
    enter: ({ type, from, to }) => {
      if (type.isError) errors.push(`${from}: ${query.slice(Math.max(0, from - 20), to + 20)}`);
    },
  });
  return errors;
}

test('the parser refuses what is no LogQL', () => {
  expect(errorsOf('sum by (code) (count_over_time({job="a"} | json [5m])')).not.toEqual([]);
  expect(errorsOf('{job="a"} | jsn x')).not.toEqual([]);
});

test('all places that have LogQL are looked at', () => {
  const places = logQueries().map(([where]) => where);
  for (const place of ['Errors by code', 'OnboarddStepFailedStorm', 'dashboard 1', 'config.alloy'])
    expect(places).toContain(place);
  expect(places.length).toBeGreaterThanOrEqual(7 + rulesOf('loki-rules.yaml').length + 3);
});

test.each(logQueries())('%s is LogQL', (_, query) => {
  expect(errorsOf(query)).toEqual([]);
});

const headings = readFileSync(new URL('../../docs/troubleshooting.md', import.meta.url), 'utf8')
  .split('\n')
  .flatMap((line) => /^#+ (.*)$/.exec(line)?.[1] ?? []);
/** As GitHub and GitLab make them. */
const anchors = new Set(
  headings.map((text) =>
    text
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  ),
);

test.each([
  ...rulesOf('loki-rules.yaml'),
  ...rulesOf('prometheus-rules.yaml'),
])('$alert has a severity, a summary and a runbook that exists, and is in the README', (rule) => {
  expect(['warning', 'critical']).toContain(rule.labels.severity);
  expect(rule.annotations.summary).toMatch(/\{\{ \$(labels|value)/);
  const [page, anchor = ''] = rule.annotations.runbook_url?.split('#') ?? [];
  expect(page).toBe('docs/troubleshooting.md');
  expect(anchors).toContain(anchor);
  expect(monitoringFile('README.md')).toContain(`\`${rule.alert}\``);
});

test.each(rulesOf('prometheus-rules.yaml'))('$alert has to last before it fires', (rule) => {
  expect(rule.for).toMatch(/^\d+[mh]$/);
});

test('the metrics that rules and dashboard use are those of the README, and of the program', () => {
  const source = readFileSync(new URL('../../src/adapters/metricsFile.ts', import.meta.url), 'utf8');
  const made = new Set([...source.matchAll(/^ {2}(onboardd_\w+): \[/gm)].map(([, name]) => name));
  const told = [...monitoringFile('README.md').matchAll(/^\| `(onboardd_\w+)/gm)].map(([, name]) => name);
  expect(new Set(told)).toEqual(made);
  const queries = [
    ...rulesOf('prometheus-rules.yaml').map(({ expr }) => expr),
    ...dashboardQueries('prometheus'),
  ];
  const used = queries.flatMap((query) => query.match(/onboardd_\w+/g) ?? []);
  expect([...new Set(used)].filter((name) => !made.has(name))).toEqual([]);
});

test('the dashboard shows whatever an alert is about', () => {
  const metrics = (queries: readonly string[]) => new Set(queries.join('\n').match(/onboardd_\w+/g));
  const shown = metrics(dashboardQueries('prometheus'));
  // When a renewal is due is the yardstick of an alert, not what it is about.
  shown.add('onboardd_certificate_renew_at_timestamp_seconds');
  const alerting = metrics(rulesOf('prometheus-rules.yaml').map(({ expr }) => expr));
  expect([...alerting].filter((name) => !shown.has(name))).toEqual([]);
});

const overlap = ({ gridPos: a }: Panel, { gridPos: b }: Panel) =>
  a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

test('the panels of the dashboard have queries, say what they show, and lie beside each other', () => {
  const { panels, templating, uid, title } = dashboard();
  expect([uid, title]).toEqual(['onboardd', 'onboardd']);
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const variables = templating.list.map(({ name }) => name);
  for (const panel of panels) {
    expect(panel.description, panel.title).toMatch(/\.$/);
    expect(['stat', 'timeseries', 'table', 'logs']).toContain(panel.type);
    expect(variables.map((name) => `\${${name}}`)).toContain(panel.datasource.uid);
    expect(panel.targets.length).toBeGreaterThan(0);
    for (const { datasource } of panel.targets) expect(datasource).toEqual(panel.datasource);
    expect(panel.gridPos.x + panel.gridPos.w).toBeLessThanOrEqual(24);
  }
  const pairs = panels.flatMap((one, index) => panels.slice(index + 1).map((other) => [one, other] as const));
  expect(pairs.filter(([one, other]) => overlap(one, other)).map(([{ title }]) => title)).toEqual([]);
});

const fields = new Set([
  ...Object.keys(commonFields),
  ...Object.values(events).flatMap(({ fields }) => Object.keys(fields)),
]);

test('Alloy gets what the queries need from journal entries as from JSON, and its components exist', () => {
  const text = monitoringFile('config.alloy').replace(/^\s*\/\/.*$/gm, '');
  const native = [...text.matchAll(/\["__journal_(onboardd_\w+)"\]\n\s+target_label {2}= "(\w+)"/g)];
  for (const [, source = '', label = ''] of native) {
    expect(fields).toContain(label);
    expect(source.toUpperCase()).toBe(journalField(label));
  }
  const names = native.map(([, , label = '']) => label);
  const [expressions = [], values = []] = [...text.matchAll(/(?:expressions|values) = \{([^}]*)\}/g)].map(
    ([, block = '']) => [...block.matchAll(/^\s+(\w+)\s+= "",$/gm)].map(([, name]) => name),
  );
  const [, list = ''] = /labels = \[([^\]]*)\]\n\s+ingest_timestamp = true/.exec(text) ?? [];
  const packed = [...list.matchAll(/"(\w+)"/g)].map(([, name]) => name);
  expect([expressions, values, packed]).toEqual([names, names, names]);
  const needed = logQueries().flatMap(([, query]) => [
    ...[...query.matchAll(/\| (\w+) ?!?=/g)].map(([, name]) => name),
    ...[...query.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, by = '']) => by.split(', ')),
    ...[...query.matchAll(/unwrap (\w+)/g)].map(([, name]) => name),
  ]);
  const given = new Set<string | undefined>([...names, 'host', '']);
  expect(needed.filter((name) => !given.has(name))).toEqual([]);
  const defined = [...text.matchAll(/^([\w.]+) "(\w+)" \{$/gm)].map(([, type, label]) => `${type}.${label}`);
  const referred = [...text.matchAll(/= \[?([a-z]+(?:\.[a-z]+){2,3})\.(?:rules|receiver)\]?/g)].map(
    ([, component]) => component,
  );
  expect(referred).toHaveLength(3);
  for (const component of referred) expect(defined).toContain(component);
  for (const [open, close] of ['{}', '[]', '()'])
    expect(text.split(open as string).length, open).toBe(text.split(close as string).length);
});

test('the collector makes the OpenTelemetry column of the field names, by documented operators and functions', () => {
  const { receivers, processors } = parse(monitoringFile('otel-collector.yaml'));
  const operators: Record<string, string>[] = receivers.journald.operators;
  expect(new Set(operators.map(({ type }) => type))).toEqual(new Set(['json_parser', 'move']));
  for (const { type, ...settings } of operators)
    expect(Object.keys(settings).sort()).toEqual(
      type === 'move' ? ['from', 'if', 'to'] : ['if', 'parse_from', 'parse_to'],
    );
  const [{ statements }] = processors['transform/onboardd'].log_statements as { statements: string[] }[] as [
    { statements: string[] },
  ];
  for (const statement of statements)
    expect(statement).toMatch(
      /^(set\([\w.]+(\["[\w.]+"\])?, ("\w+"|[\w.]+(\["\w+"\])?)\)( where \w+\["\w+"\] (==|!=) ("\w+"|nil))?|delete_key\(attributes, "\w+"\))$/,
    );
  const rows = [
    ...monitoringFile('field-names.md').matchAll(/^\| `(\w+)` \| [^|]* \| `([\w.]+)`( \(resource\))? \|/gm),
  ].filter(([, , name = '']) => name.includes('.'));
  expect(rows.length).toBeGreaterThan(14);
  for (const [, field = '', name, resource] of rows) {
    const to = `${resource ? 'resource.' : ''}attributes["${name}"]`;
    expect(statements).toContain(`set(${to}, attributes["${field}"])`);
    expect(statements).toContain(`delete_key(attributes, "${field}")`);
    const from = `body.${journalField(field)}`;
    expect(operators).toContainEqual({ type: 'move', if: `${from} != nil`, from, to: `attributes.${field}` });
  }
});
