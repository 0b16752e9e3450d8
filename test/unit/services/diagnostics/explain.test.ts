import { expect, test } from 'vitest';
import { explainLines } from '../../../../src/cli/format/explain.ts';
import { catalogue } from '../../../../src/errors/catalogue.ts';
import { type ReasonEntry, reasons } from '../../../../src/errors/reasons.ts';
import { events } from '../../../../src/events.ts';
import { explain } from '../../../../src/services/diagnostics/explain.ts';

const shown = (name: string) => {
  const entry = explain(name);
  return entry === null ? '' : explainLines(entry).join('\n');
};

test('explain knows every error code, reason, event and message id', () => {
  for (const [code, { cause, remedy }] of Object.entries(catalogue))
    expect(shown(code.toLowerCase())).toContain(`${cause}\nremedy  ${remedy}`);
  for (const [name, { meaning, messageId }] of Object.entries(events)) {
    expect(shown(name)).toContain(meaning);
    expect(explain(messageId)).toEqual(explain(name));
  }
  for (const [name, { cause, remedy }] of Object.entries<ReasonEntry>(reasons)) {
    expect(shown(name.toUpperCase())).toContain(cause);
    for (const advice of [remedy].flat()) expect(shown(name)).toContain(advice);
  }
  expect(explain('__proto__')).toBeNull();
});
