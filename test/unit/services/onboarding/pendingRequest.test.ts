import { expect, test } from 'vitest';
import {
  persistResult,
  recordOpened,
  recordRequest,
  renewMessageId,
  withdrawRequest,
} from '../../../../src/services/onboarding/pendingRequest.ts';
import type { Message, Result } from '../../../../src/services/onboarding/registrationResult.ts';
import type { Session } from '../../../../src/services/onboarding/session.ts';
import {
  currentState,
  type DeviceState,
  newState,
  type OpenRequest,
  type StateDirectory,
  writeState,
} from '../../../../src/services/state/deviceState.ts';

const now = Date.UTC(2026, 10, 23);
const at = new Date(now).toISOString();
const provisioned = {
  ...{ certificate: 'C', caCertificate: 'CA', natsUrl: 'tls://a:4222', renewAt: at, opened: false },
};
const request: OpenRequest = {
  ...{ messageId: 'm', firstAt: at, publishes: 1, afterSequence: 7, afterStoredAt: at },
  announced: null,
};
const announced = { alias: 'a', currentOwner: null, buildVersion: '1' };
const message: Message = {
  ...{ text: '{"status":"success"}', id: null, timestamp: 't' },
  ...{ storedAt: null, sequence: null, status: null },
};
const overTls = { isEncrypted: true } as Session;
const inClear = { isEncrypted: false } as Session;

/** A state directory in memory. `before`: the state that it begins with; `writes`: how often it was written since. */
function device(changes: Partial<DeviceState> = {}) {
  let text = '';
  let writes = 0;
  const directory = {
    read: () => text,
    write(_: string, next: string) {
      text = next;
      writes++;
    },
  } as unknown as StateDirectory;
  writeState(directory, { ...newState('d1', true), provisioned, ...changes });
  writes = 0;
  const state = () => currentState(directory);
  const ports = { directory, now: () => now, randomUUID: () => 'u' };
  return { ports, before: state(), state, writes: () => writes };
}

test.each<[string, Message | 'none' | 'unavailable', Partial<OpenRequest>]>([
  ['holds nothing', 'none', { afterSequence: 0, afterStoredAt: null }],
  ['cannot be read', 'unavailable', { afterSequence: null, afterStoredAt: null }],
  ['says not when', { ...message, sequence: 7 }, { afterSequence: null, afterStoredAt: null }],
  [
    'holds a result',
    { ...message, sequence: 7, storedAt: now - 1000 },
    { afterSequence: 7, afterStoredAt: new Date(now - 1000).toISOString() },
  ],
  [
    'holds a result without its place',
    { ...message, storedAt: 0 },
    { afterSequence: null, afterStoredAt: new Date(0).toISOString() },
  ],
])('a first request is recorded with what comes before it, if the stream %s', (_, last, after) => {
  const { ports, state } = device();
  const expected = { messageId: 'u', firstAt: at, publishes: 1, announced, ...after };
  expect(recordRequest(ports, overTls, last, announced)).toEqual(expected);
  expect(state().request).toEqual(expected);
});

test('a request that is open keeps all that it has, and counts the publish', () => {
  const { ports, state } = device({ request });
  expect(recordRequest(ports, overTls, 'none', announced)).toEqual({ ...request, publishes: 2 });
  expect(state().request?.publishes).toBe(2);
});

test('over TLS a request records that the certificate opened NATS, and pins its CA; in clear text neither', () => {
  const secured = device();
  recordRequest(secured.ports, overTls, 'none', announced);
  expect(secured.state()).toMatchObject({ provisioned: { ...provisioned, opened: true }, pinnedCa: 'CA' });
  const plain = device();
  recordRequest(plain.ports, inClear, 'none', announced);
  expect(plain.state()).toMatchObject({ provisioned, pinnedCa: null });
});

test('without a certificate there is nothing that opened', () => {
  const { ports, state } = device({ provisioned: null });
  recordRequest(ports, overTls, 'none', announced);
  expect(state()).toMatchObject({ provisioned: null, pinnedCa: null });
});

test.each<[string, Session, Partial<DeviceState>, number]>([
  ['over TLS, the first time', overTls, {}, 1],
  ['in clear text', inClear, {}, 0],
  ['over TLS, again', overTls, { provisioned: { ...provisioned, opened: true } }, 0],
  ['without a certificate', overTls, { provisioned: null }, 0],
])('that NATS was opened is written once: %s', (_, session, changes, writes) => {
  const made = device(changes);
  recordOpened(made.ports, session, made.before);
  expect(made.writes()).toBe(writes);
  if (writes > 0) expect(made.state()).toMatchObject({ provisioned: { opened: true }, pinnedCa: 'CA' });
  else expect(made.state()).toEqual(made.before);
});

test('a request that nobody heard is taken back, and an earlier one comes back as it was', () => {
  for (const open of [null, request]) {
    const { ports, before, state } = device({ request: open });
    recordRequest(ports, overTls, 'none', announced);
    withdrawRequest(ports, before);
    expect(state().request).toEqual(open);
    expect(state().pinnedCa).toBe('CA');
  }
});

const success: Result = { kind: 'success', alias: 'Alpha', text: message.text ?? '' };
const already: Result = { kind: 'failure', error: 'device already registered' };
const refused: Result = { kind: 'failure', error: 'no' };

test('a success closes the request, and is kept as it arrived', () => {
  const { ports, before, state } = device({ lastRejection: 'old', mayBeRegistered: true });
  recordRequest(ports, overTls, 'none', announced);
  persistResult(ports, overTls, { message, result: success }, before);
  expect(state()).toMatchObject({
    registration: { alias: 'Alpha', at, result: message.text, announced },
    ...{ request: null, idIsNew: false, lastRejection: null, mayBeRegistered: false, pinnedCa: 'CA' },
  });
});

test.each<[string, Partial<DeviceState>]>([
  ['has an earlier request open', { request }],
  ['may have been registered', { mayBeRegistered: true }],
])('"already registered" is a success to a device that %s', (_, changes) => {
  const { ports, before, state } = device(changes);
  recordRequest(ports, overTls, 'none', announced);
  persistResult(ports, overTls, { message, result: already }, before);
  expect(state()).toMatchObject({
    registration: { alias: null, at, result: message.text },
    ...{ request: null, mayBeRegistered: false },
  });
});

test('"already registered" is a refusal to a device that asks for the first time', () => {
  const { ports, before, state } = device();
  recordRequest(ports, overTls, 'none', announced);
  expect(() => persistResult(ports, overTls, { message, result: already }, before)).toThrow(
    expect.objectContaining({
      code: 'REGISTRATION_REJECTED',
      message: 'the fleet manager rejected the device: device already registered',
    }),
  );
  expect(state()).toMatchObject({
    ...{ registration: null, request: null, idIsNew: false, mayBeRegistered: false },
    ...{ lastRejection: `t ${message.text}`, pinnedCa: 'CA', provisioned: { opened: true } },
  });
});

test.each<[string, Partial<DeviceState>, boolean]>([
  ['one publish: it was refused', {}, false],
  ['an earlier publish without an answer: the fleet may have accepted that one', { request }, true],
  ['an earlier doubt stays', { mayBeRegistered: true }, true],
])('after a refusal, %s', (_, changes, expected) => {
  const { ports, before, state } = device(changes);
  recordRequest(ports, overTls, 'none', announced);
  expect(() => persistResult(ports, overTls, { message, result: refused }, before)).toThrow(
    /rejected the device: no$/,
  );
  expect(state().mayBeRegistered).toBe(expected);
});

test.each<[string, Result, Partial<DeviceState>, number | null | undefined]>([
  ['is kept, for a success that may follow', refused, {}, null],
  ['of a new id follows everything that a stream may hold', refused, { idIsNew: true }, 0],
  ['for which another device is registered is not', already, {}, undefined],
])('the request of a rejection %s', (_, result, changes, afterSequence) => {
  const { ports, before, state } = device({ idIsNew: false, ...changes });
  const open = recordRequest(ports, overTls, 'unavailable', announced);
  expect(() => persistResult(ports, overTls, { message, result }, before)).toThrow();
  expect(state().rejectedRequest).toEqual(afterSequence === undefined ? null : { ...open, afterSequence });
  persistResult(ports, overTls, { message, result: success }, state());
  expect(state()).toMatchObject({
    rejectedRequest: null,
    registration: { announced: afterSequence === undefined ? null : announced },
  });
});

test('a refusal that comes after the request was closed leaves no doubt', () => {
  const { ports, before, state } = device();
  expect(() => persistResult(ports, inClear, { message, result: refused }, before)).toThrow();
  expect(state()).toMatchObject({ mayBeRegistered: false, pinnedCa: null });
});

test.each([
  ['device already registered', 'already-registered'],
  ['the device limit is reached', 'quota-exceeded'],
  ['no', null],
])('a refusal says its reason: "%s"', (error, reason) => {
  const { ports, before } = device();
  recordRequest(ports, overTls, 'none', announced);
  const result: Result = { kind: 'failure', error };
  expect(() => persistResult(ports, overTls, { message, result }, before)).toThrow(
    expect.objectContaining({ code: 'REGISTRATION_REJECTED', reason }),
  );
});

test('a certificate that was refused before and opens NATS now is refused no more', () => {
  const { ports, state } = device({ provisioned: { ...provisioned, refused: true } });
  recordRequest(ports, overTls, 'none', announced);
  expect(state().provisioned).toMatchObject({ opened: true, refused: false });
});

test('"already registered" after the request was closed is kept without what was announced', () => {
  const { ports, before, state } = device({ mayBeRegistered: true });
  persistResult(ports, overTls, { message, result: already }, before);
  expect(state().registration).toEqual({ alias: null, at, result: message.text, announced: null });
});

test('a request that is gone gets no new message id', () => {
  expect(() => renewMessageId(device().ports)).toThrow(
    expect.objectContaining({
      ...{ code: 'STATE_CORRUPT', class: 'transient' },
      message: 'the request does not exist any more',
    }),
  );
});
