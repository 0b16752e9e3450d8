import { catalogue, type ErrorCode } from '../../errors/catalogue.ts';
import { isReason, type Reason, reasons } from '../../errors/reasons.ts';
import { type EventEntry, events, type Field } from '../../events.ts';

/**
 * What the catalogues say of an error code, a reason, an event or a MESSAGE_ID; whoever asks may write it in either case.
 *
 * @returns lines for a person; null where there is no such name
 */
export function explain(name: string): string[] | null {
  const wanted = name.trim();
  const code = wanted.toUpperCase();
  if (Object.hasOwn(catalogue, code)) {
    const { class: kind, cause, remedy } = catalogue[code as ErrorCode];
    const again =
      kind === 'transient'
        ? 'transient: onboardd tries again by itself'
        : 'permanent: onboardd rests in `failed` until `retry.failedAfterMs` has passed';
    return [code, ...rows([...pair('class', again), ...pair('cause', cause), ...pair('remedy', remedy)])];
  }
  const reason = wanted.toLowerCase();
  if (isReason(reason)) return explainReason(reason);
  const known: [string, EventEntry][] = Object.entries(events);
  const found = known.find(
    ([event, { messageId }]) => event === wanted.toLowerCase() || messageId === wanted.toLowerCase(),
  );
  if (found === undefined) return null;
  const [event, { level, messageId, meaning, fields }] = found;
  const described = Object.entries<Field<unknown>>(fields).map(
    ([field, { meaning }]) => [`  ${field}`, meaning] as const,
  );
  return [
    event,
    ...rows([
      ...pair('level', level),
      ...pair('meaning', meaning),
      ...pair('message id', messageId),
      ...described,
    ]),
  ];
}

/** All names that `explain` knows: error codes, their reasons, events. */
export function explainable(): string[] {
  return [...Object.keys(catalogue), ...Object.keys(reasons), ...Object.keys(events)];
}

function explainReason(reason: Reason): string[] {
  const { codes, cause, remedy } = reasons[reason];
  const advice: [string, string][] =
    typeof remedy === 'string'
      ? pair('remedy', remedy)
      : [...pair('remedy', remedy[0]), ...pair('with NATS', remedy[1])];
  const shown = codes.filter((code) => code !== null).join(', ');
  return [reason, ...rows([...pair('reason of', shown), ...pair('cause', cause), ...advice])];
}

function pair(name: string, value: string): [string, string][] {
  return [[name, value]];
}

function rows(entries: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...entries.map(([name]) => name.length));
  return entries.map(([name, value]) => `${name.padEnd(width)}  ${value}`);
}
