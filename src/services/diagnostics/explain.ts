import { catalogue, type ErrorCode } from '../../errors/catalogue.ts';
import { isReason, type Reason, reasons } from '../../errors/reasons.ts';
import { type EventEntry, events, type Field } from '../../events.ts';

/** A label and its text. */
export type Row = readonly [label: string, text: string];

/**
 * Describes an error code, a reason, an event or a message id, in upper or lower case.
 *
 * @returns the name as the catalogue spells it, and rows for a person; null for an unknown name
 */
export function explain(name: string): { readonly name: string; readonly rows: readonly Row[] } | null {
  const wanted = name.trim();
  const code = wanted.toUpperCase();
  if (Object.hasOwn(catalogue, code)) {
    const { class: kind, cause, remedy } = catalogue[code as ErrorCode];
    const classText =
      kind === 'transient'
        ? 'transient: onboardd tries again by itself'
        : 'permanent: onboardd waits in `failed` for `retry.failedAfterMs`, then starts over';
    const rows: Row[] = [
      ['class', classText],
      ['cause', cause],
      ['remedy', remedy],
    ];
    return { name: code, rows };
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
    ([field, { meaning }]): Row => [`  ${field}`, meaning],
  );
  const rows: Row[] = [['level', level], ['meaning', meaning], ['message id', messageId], ...described];
  return { name: event, rows };
}

/** All names that `explain` knows: error codes, their reasons, events. */
export function explainable(): string[] {
  return [...Object.keys(catalogue), ...Object.keys(reasons), ...Object.keys(events)];
}

function explainReason(reason: Reason): { name: string; rows: Row[] } {
  const { codes, cause, remedy } = reasons[reason];
  const advice: Row[] =
    typeof remedy === 'string'
      ? [['remedy', remedy]]
      : [
          ['remedy', remedy[0]],
          ['with NATS', remedy[1]],
        ];
  const shown = codes.filter((code) => code !== null).join(', ');
  return { name: reason, rows: [['reason of', shown], ['cause', cause], ...advice] };
}
