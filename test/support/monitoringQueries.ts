import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

export const monitoringFile = (name: string) =>
  readFileSync(new URL(`../../docs/monitoring/${name}`, import.meta.url), 'utf8');

export interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly keep_firing_for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export function rulesOf(file: 'loki-rules.yaml' | 'prometheus-rules.yaml'): readonly Rule[] {
  const { groups } = parse(monitoringFile(file)) as { groups: { rules: Rule[] }[] };
  return groups.flatMap(({ rules }) => rules);
}

export interface Panel {
  readonly id: number;
  readonly title: string;
  readonly description?: string;
  readonly type: string;
  readonly datasource: { readonly type: string; readonly uid: string };
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets: readonly { readonly refId: string; readonly expr: string; readonly datasource: object }[];
}

export interface Dashboard {
  readonly title: string;
  readonly uid: string;
  readonly schemaVersion: number;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
}

export const dashboard = (): Dashboard => JSON.parse(monitoringFile('grafana-dashboard.json'));

/** The dashboard's queries of one kind of data source, with Grafana's variables filled in. */
export function dashboardQueries(type: 'loki' | 'prometheus'): string[] {
  return dashboard()
    .panels.filter(({ datasource }) => datasource.type === type)
    .flatMap(({ targets }) => targets.map(({ expr }) => expr))
    .map((expr) =>
      expr.replaceAll('$instance', '.*').replaceAll('$__rate_interval', '5m').replaceAll('$__interval', '5m'),
    );
}

/** Every LogQL query of docs/monitoring, by where it stands. */
export function logQueries(): (readonly [where: string, query: string])[] {
  const table = monitoringFile('README.md')
    .split('\n')
    .flatMap((line) => {
      const [, question, query] = /^\| ([^|]+) \| `(.*\{job=.*)` \|$/.exec(line) ?? [];
      return question && query ? [[question, query.replaceAll('\\|', '|')] as const] : [];
    });
  const selectors = [...monitoringFile('config.alloy').matchAll(/selector = `(.*)`/g)];
  return [
    ...table,
    ...rulesOf('loki-rules.yaml').map(({ alert, expr }) => [alert, expr] as const),
    ...dashboardQueries('loki').map((query, index) => [`dashboard ${index}`, query] as const),
    ...selectors.map(([, selector = '']) => ['config.alloy', selector] as const),
  ];
}
