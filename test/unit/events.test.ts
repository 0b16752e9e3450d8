import { expect, test } from 'vitest';
import { events } from '../../src/events.ts';

test('message ids are 128 bits and unique', () => {
  const ids = Object.values(events).map(({ messageId }) => messageId);
  expect(ids.every((id) => /^[0-9a-f]{32}$/.test(id))).toBe(true);
  expect(new Set(ids).size).toBe(ids.length);
});

/** What the contract promises: each event, and fields of its own. */
const promised: Readonly<Record<string, readonly string[]>> = {
  'daemon.started': ['pid'],
  'daemon.stopped': ['signal'],
  'state.changed': ['from', 'to', 'durationMs'],
  'step.failed': ['step', 'code', 'class', 'attempt', 'retryInMs', 'cause'],
  'device.registered': ['alias', 'durationMs'],
  'device.failed': ['code', 'remedy'],
  'certificate.issued': ['serial', 'notAfter', 'renewAt'],
  'certificate.renewed': ['serial', 'notAfter', 'renewAt'],
  'identity.replaced': ['reason'],
  'registration.left': ['reason'],
  'daemon.heartbeat': ['since', 'notAfter'],
};

test.each(Object.entries(promised))('%s has the fields of the contract', (event, fields) => {
  const entries: Readonly<Record<string, { readonly fields: object }>> = events;
  expect(Object.keys(entries[event]?.fields ?? {})).toEqual(expect.arrayContaining([...fields]));
});
