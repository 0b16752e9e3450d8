import { expect, test } from 'vitest';
import { catalogue } from '../../../../src/errors/catalogue.ts';
import { type ReasonEntry, reasons } from '../../../../src/errors/reasons.ts';
import { events } from '../../../../src/events.ts';
import { explain } from '../../../../src/services/diagnostics/explain.ts';

test('explain knows every error code, reason, event and message id', () => {
  for (const [code, { cause, remedy }] of Object.entries(catalogue))
    expect(explain(code.toLowerCase())?.join('\n')).toContain(`${cause}\nremedy  ${remedy}`);
  for (const [name, { meaning, messageId }] of Object.entries(events)) {
    expect(explain(name)?.join('\n')).toContain(meaning);
    expect(explain(messageId)).toEqual(explain(name));
  }
  for (const [name, { cause, remedy }] of Object.entries<ReasonEntry>(reasons)) {
    expect(explain(name.toUpperCase())?.join('\n')).toContain(cause);
    for (const advice of [remedy].flat()) expect(explain(name)?.join('\n')).toContain(advice);
  }
  expect(explain('__proto__')).toBeNull();
});
