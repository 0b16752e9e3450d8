/** What `onboardd report`, DuckDB and jq all tell. */
export interface Figures {
  readonly lines: { readonly lines: number; readonly different: number };
  readonly events: readonly { readonly event: string; readonly n: number }[];
  readonly durations: readonly Readonly<Record<'state' | 'count' | 'p50' | 'p95' | 'max', string | number>>[];
  readonly errors: readonly Readonly<Record<'code' | 'count' | 'devices' | 'example', string | number>>[];
  readonly devices: readonly { readonly id: string; readonly state: string; readonly failures: number }[];
}

interface ReportJson {
  readonly lines: { readonly read: number; readonly duplicates: number };
  readonly events: Readonly<Record<string, number>>;
  readonly durations: Readonly<
    Record<string, Readonly<Record<'count' | 'p50Ms' | 'p95Ms' | 'maxMs', number>>>
  >;
  readonly errors: readonly { code: string; count: number; devices: number; example: string }[];
  readonly list: readonly { id: string; state: string; failures: number }[];
}

export function ofReport({ lines, events, durations, errors, list }: ReportJson): Figures {
  return {
    lines: { lines: lines.read, different: lines.read - lines.duplicates },
    events: Object.entries(events).map(([event, n]) => ({ event, n })),
    durations: Object.entries(durations)
      .filter(([state]) => !state.endsWith('ToRegistered'))
      .map(([state, { count, p50Ms, p95Ms, maxMs }]) => ({
        state,
        count,
        p50: p50Ms,
        p95: p95Ms,
        max: maxMs,
      })),
    errors,
    devices: list,
  };
}

/** Quantiles of the report are right within 2 %. */
const tolerance = 0.021;

/** @returns what differs first; null: nothing */
export function isSame(one: Figures, other: Figures): string | null {
  const keysOf = {
    events: ['event', 'n'],
    durations: ['state', 'count', 'max'],
    errors: ['code', 'count', 'devices', 'example'],
    devices: ['id', 'state', 'failures'],
  } as const;
  for (const key of ['lines', 'different'] as const)
    if (one.lines[key] !== other.lines[key]) return `${key}: ${one.lines[key]}, ${other.lines[key]}`;
  for (const [name, keys] of Object.entries(keysOf)) {
    const [a, b] = [one, other].map((figures) => rowsOf(figures[name as keyof typeof keysOf], keys));
    const index = (a ?? []).findIndex((row, at) => row !== b?.[at]);
    if (index >= 0 || a?.length !== b?.length) return `${name}: ${a?.[index]}, ${b?.[index]}`;
  }
  const quantiles = (figures: Figures) =>
    [...figures.durations]
      .sort((x, y) => (x.state < y.state ? -1 : 1))
      .flatMap(({ p50, p95 }) => [Number(p50), Number(p95)]);
  const others = quantiles(other);
  const wrong = quantiles(one).findIndex(
    (value, at) => Math.abs(value - (others[at] ?? 0)) > 1 + tolerance * Math.max(value, others[at] ?? 0),
  );
  return wrong < 0 ? null : `a quantile of the durations: ${quantiles(one)[wrong]}, ${others[wrong]}`;
}

function rowsOf(rows: readonly object[], keys: readonly string[]): string[] {
  return rows.map((row) => keys.map((key) => String((row as Record<string, unknown>)[key])).join(' ')).sort();
}
