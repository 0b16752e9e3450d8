import { expect, test } from 'vitest';
import {
  NewerStateError,
  newState,
  type Progress,
  parseState,
} from '../../../../src/services/state/deviceState.ts';

const at = '2026-11-23T00:00:00.000Z';
const provisioned = { certificate: 'C', caCertificate: 'CA', natsUrl: 'tls://a:4222', renewAt: at };
const registration = { alias: 'Alpha', at, result: '{"status":"success"}' };

/** What older versions kept for `status` */
const begun = { state: 'idle', since: at, attempt: 1, nextRetryAt: null, lastError: null, history: [] };

/** A state as version 0.1.0 wrote it. */
function older(changes: Record<string, unknown> = {}): string {
  const progress = begun;
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
  const progress = begun;
  const lastError = { code: 'NATS_TLS', message: 'x', at };
  const read = (reason: object) =>
    parseState(older({ progress: { ...progress, attempt: 7, lastError: { ...lastError, ...reason } } }))
      .progress as Progress;
  expect(read({})).toMatchObject({ attempt: 7, lastError: { ...lastError, reason: null } });
  expect(read({ reason: 5 })).toMatchObject({ attempt: 7, lastError: { ...lastError, reason: null } });
  expect(read({ reason: 'tls-expired' }).lastError).toEqual({ ...lastError, reason: 'tls-expired' });
});

test('an older version knew no certificate beside the one in use, and damage to one costs nothing else', () => {
  const none = { candidate: null, previous: null, formerRegistration: null, verifiedAt: null };
  expect(parseState(older({ provisioned, registration }))).toMatchObject(none);
  const damaged = { candidate: { certificate: 5 }, previous: [], formerRegistration: 'x', verifiedAt: 'y' };
  expect(parseState(older({ provisioned, registration, ...damaged }))).toMatchObject({
    ...none,
    provisioned,
    registration,
  });
  const kept = { ...provisioned, opened: false };
  expect(parseState(older({ candidate: kept, previous: kept, verifiedAt: at }))).toMatchObject({
    candidate: kept,
    previous: kept,
    verifiedAt: at,
  });
});

test('what is written is read as it was', () => {
  const state = { ...newState('d1'), pinnedCa: 'CA', exported: ['/a'] };
  expect(parseState(JSON.stringify(state))).toEqual(state);
});

const request = { messageId: 'm', firstAt: at, publishes: 1, afterSequence: 7, afterStoredAt: at };
/** What is left of a key that was taken away. */
const absent = undefined;

test.each([
  ['version', 'has no version', [absent, null, '1', 0]],
  ['deviceId', 'has no device id', [absent, null, 1, '', 'a.b', 'x'.repeat(65)]],
  [
    'provisioned',
    'has a damaged `provisioned`',
    [
      absent,
      [],
      'x',
      { ...provisioned, certificate: '' },
      { ...provisioned, caCertificate: absent },
      { ...provisioned, renewAt: 'soon' },
      { ...provisioned, opened: 'yes' },
    ],
  ],
  [
    'request',
    'has a damaged `request`',
    [
      absent,
      [],
      { ...request, messageId: '' },
      { ...request, firstAt: 1 },
      { ...request, publishes: -1 },
      { ...request, publishes: 0.5 },
    ],
  ],
  ['lastRejection', 'has a damaged `lastRejection`', ['', 1, {}]],
  [
    'registration',
    'has a damaged `registration`',
    [absent, [], { ...registration, alias: '' }, { ...registration, result: absent }],
  ],
])('damage to %s is named: the state %s', (key, what, damages) => {
  for (const damage of damages) {
    const text = older({ provisioned, request, registration, [key]: damage });
    expect(() => parseState(text), text).toThrow(
      expect.objectContaining({ code: 'STATE_CORRUPT', message: `state.json ${what}` }),
    );
  }
});

test.each([
  ['', 'is not valid JSON'],
  ['{', 'is not valid JSON'],
  ['null', 'is not a JSON object'],
  ['[1]', 'is not a JSON object'],
])('%j is no state', (text, what) => {
  expect(() => parseState(text)).toThrow(`state.json ${what}`);
});

test('a state of a newer version is left to it', () => {
  expect(() => parseState(older({ version: 2, deviceId: null }))).toThrow(NewerStateError);
});

test.each([
  absent,
  null,
  [],
  'idle',
  { state: 'idle' },
  { ...begun, state: 'unheard-of' },
  { ...begun, lastError: { code: 'X' } },
])('a damaged progress costs no identity: %j', (progress) => {
  const state = parseState(older({ provisioned, registration, progress }));
  expect(state).toMatchObject({ deviceId: 'd1', provisioned, registration });
  expect(state.progress).toBeNull();
});

test('of a history, what is malformed is left out, and each state is there once', () => {
  const visit = (state: string, durationMs: unknown) => ({ state, at, durationMs });
  const history = [
    visit('idle', 1),
    visit('csr', 2),
    null,
    visit('csr', -1),
    visit('away', 1),
    visit('idle', 3),
  ];
  const progress = begun;
  const read = (value: unknown) =>
    parseState(older({ progress: { ...progress, history: value } })).progress?.history;
  expect(read(history)).toEqual([visit('csr', 2), visit('idle', 3)]);
  expect([read(absent), read({})]).toEqual([[], []]);
});

test('what else is damaged is as if an older version had not written it', () => {
  const state = parseState(
    older({
      idIsNew: 'yes',
      machine: { hardware: 1, installation: null },
      request: { ...request, afterSequence: -1, afterStoredAt: 'then' },
      exported: ['/a', 'b', 1, '/c\0', '/d'],
    }),
  );
  expect(state).toMatchObject({
    idIsNew: false,
    machine: null,
    request: { afterSequence: null, afterStoredAt: null },
    exported: ['/a', '/d'],
  });
});

test('a field that is not known is passed over', () => {
  const text = older({ more: 1, provisioned: { ...provisioned, more: 1 }, request: { ...request, more: 1 } });
  const state = parseState(text.replaceAll('"more":1', '"more":1,"__proto__":{"idIsNew":true}'));
  expect(Object.keys(state).sort()).toEqual(Object.keys(newState('d1')).sort());
  expect(state).toMatchObject({ idIsNew: false, provisioned, request });
});

test('a device that was registered without TLS has no CA pinned, whatever it has', () => {
  const state = {
    ...newState('d1'),
    provisioned: { ...provisioned, opened: false },
    registration,
  };
  expect(parseState(JSON.stringify(state)).pinnedCa).toBeNull();
});
