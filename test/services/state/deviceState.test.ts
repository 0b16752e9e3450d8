import { expect, test } from 'vitest';
import { newState, parseState } from '../../../src/services/state/deviceState.ts';

const at = '2026-11-23T00:00:00.000Z';
const provisioned = { certificate: 'C', caCertificate: 'CA', natsUrl: 'tls://a:4222', renewAt: at };
const registration = { alias: 'Alpha', at, result: '{"status":"success"}' };

/** A state as version 0.1.0 wrote it. */
function older(changes: Record<string, unknown> = {}): string {
  const { progress } = newState('d1', Date.parse(at));
  const rest = { machine: null, provisioned: null, request: null, registration: null, progress };
  return JSON.stringify({
    version: 1,
    deviceId: 'd1',
    ...rest,
    refusal: null,
    mayBeAccepted: false,
    ...changes,
  });
}

test('what older versions called refusal and mayBeAccepted is read under its new name', () => {
  const state = parseState(older({ refusal: 'then: no', mayBeAccepted: true }));
  expect(state).toMatchObject({ lastRejection: 'then: no', mayBeRegistered: true });
  expect(state).not.toHaveProperty('refusal');
  expect(parseState(older())).toMatchObject({ lastRejection: null, mayBeRegistered: false });
});

test('a device that an older version registered has its CA pinned', () => {
  const state = parseState(older({ provisioned, registration }));
  expect(state.pinnedCa).toBe('CA');
  expect(state.provisioned?.opened).toBe(true);
});

test('a device that an older version provisioned, and no more, has no CA pinned yet', () => {
  const state = parseState(older({ provisioned }));
  expect(state.pinnedCa).toBeNull();
  expect(state.provisioned?.opened).toBe(false);
});

test('an id that an older version kept may have had an earlier life', () => {
  expect(parseState(older()).idIsNew).toBe(false);
});

test('an error that an older version kept has no reason, and a damaged reason costs nothing', () => {
  const { progress } = newState('d1', Date.parse(at));
  const lastError = { code: 'NATS_TLS', message: 'x', at };
  const read = (reason: object) =>
    parseState(older({ progress: { ...progress, attempt: 7, lastError: { ...lastError, ...reason } } }))
      .progress;
  expect(read({})).toMatchObject({ attempt: 7, lastError: { ...lastError, reason: null } });
  expect(read({ reason: 5 })).toMatchObject({ attempt: 7, lastError: { ...lastError, reason: null } });
  expect(read({ reason: 'tls-expired' }).lastError).toEqual({ ...lastError, reason: 'tls-expired' });
});

test('what is written is read as it was', () => {
  const state = { ...newState('d1', Date.parse(at)), pinnedCa: 'CA', exported: ['/a'] };
  expect(parseState(JSON.stringify(state))).toEqual(state);
});
