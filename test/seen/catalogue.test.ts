import { expect, test } from 'vitest';
import { explainLines } from '../../src/cli/format/explain.ts';
import { catalogue } from '../../src/errors/catalogue.ts';
import { type ReasonEntry, reasons } from '../../src/errors/reasons.ts';
import { events } from '../../src/events.ts';
import { explain } from '../../src/services/diagnostics/explain.ts';
import { checkLine, runToEnd } from '../program.ts';

test('a line that the catalogue does not know is refused', () => {
  const good = {
    timestamp: '2026-11-24T00:00:00.000Z',
    level: 'info',
    event: 'daemon.stopped',
    message: 'x',
    signal: null,
  };
  checkLine(good);
  for (const bad of [
    { ...good, event: 'daemon.melted' },
    { ...good, signal: 5 },
    { ...good, extra: 1 },
    { ...good, level: 'warn' },
  ])
    expect(() => checkLine(bad)).toThrow('not in the catalogue');
});

test('message ids are 128 bits and unique', () => {
  const ids = Object.values(events).map(({ messageId }) => messageId);
  expect(ids.every((id) => /^[0-9a-f]{32}$/.test(id))).toBe(true);
  expect(new Set(ids).size).toBe(ids.length);
});

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
  const { status, stdout } = runToEnd(['explain', 'NATS_TLS', 'step.failed']);
  expect(status).toBe(0);
  expect(stdout).toContain(catalogue.NATS_TLS.remedy);
  expect(stdout).toContain('retryInMs');
});

test('explain says so where there is no such code', () => {
  expect(runToEnd(['explain', 'NATS_SLEEPY'])).toMatchObject({ status: 64, stdout: '' });
});

test('a bug of the program is no reason to give up an identity', () => {
  expect(catalogue.INTERNAL.class).toBe('transient');
  expect(catalogue.INTERNAL.remedy).not.toMatch(/reset/);
  expect(catalogue.INTERNAL.remedy).toMatch(/log.*version/);
});
