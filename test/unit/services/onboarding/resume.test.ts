import { expect, test } from 'vitest';
import { OnboardingError } from '../../../../src/errors/onboardingError.ts';
import type { ReplaceReason } from '../../../../src/events.ts';
import { type ResumePorts, resume } from '../../../../src/services/onboarding/resume.ts';
import {
  currentState,
  type DeviceState,
  files,
  NewerStateError,
  newState,
  type StateDirectory,
} from '../../../../src/services/state/deviceState.ts';
import type { HardwareId } from '../../../../src/services/state/hardwareBinding.ts';
import * as pki from '../../../simulation/pki.ts';
import { memoryDirectory } from '../../../support/memoryDirectory.ts';

const now = Date.UTC(2026, 10, 23);
const hour = 3_600_000;
const iso = (ms: number) => new Date(ms).toISOString();
const uuid = '01234567-89ab-cdef-0123-456789abcdef';
const idOfUuid = '0123456789abcdef0123456789abcdef';
const oldId = 'f'.repeat(32);
const here: HardwareId = { hardware: 'h1', installation: 'i1' };
const nowhere: HardwareId = { hardware: null, installation: null };

function certificate(more: { key?: string; notBefore?: number; notAfter?: number } = {}): string {
  return pki.certificatePem({
    ...{ subject: `fleet/${oldId}`, key: 'k1', issuer: 'root', authority: false, serial: 1 },
    ...{ notBefore: now - 10 * hour, notAfter: now + 10 * hour },
    ...more,
  });
}
const ca = pki.certificatePem({
  ...{ subject: 'root', key: 'root', issuer: 'root', authority: true, serial: 0 },
  ...{ notBefore: now - 100 * hour, notAfter: now + 100 * hour },
});
const provisioned = {
  certificate: certificate(),
  caCertificate: ca,
  natsUrl: 'tls://a:4222',
  renewAt: iso(now + hour),
  opened: true,
};
const success = '{"status":"success","alias":"Alpha"}';
const registration = { alias: 'Alpha', at: iso(now - hour), result: success, announced: null };
const stateOf = (changes: Partial<DeviceState> = {}): string =>
  JSON.stringify({ ...newState(oldId), ...changes });

/** A state directory in memory, and a start on it. */
function start(
  contents: Readonly<Record<string, string>>,
  options: {
    configuredId?: string;
    fleetCa?: readonly string[];
    machine?: HardwareId;
    at?: number;
    isReadOnly?: boolean;
    /** The disk fails at the first try to read the state. */
    firstReadFails?: boolean;
  } = {},
) {
  const held = new Map(Object.entries(contents));
  const writes: { name: string; mode: number }[] = [];
  const restricted: { name: string; mode: number }[] = [];
  const quarantined: OnboardingError[] = [];
  const replaced: (readonly [ReplaceReason, string])[] = [];
  let mayFail = options.firstReadFails === true;
  const directory: StateDirectory = {
    read(name) {
      if (mayFail && name === files.state) {
        mayFail = false;
        throw new OnboardingError('STATE_UNWRITABLE', 'cannot read');
      }
      return held.get(name) ?? null;
    },
    write(name, text, mode) {
      if (options.isReadOnly) throw new OnboardingError('STATE_UNWRITABLE', 'read-only');
      writes.push({ name, mode });
      held.set(name, text);
    },
    refresh(name, text, mode) {
      if (held.get(name) !== text) directory.write(name, text, mode);
    },
    settle: () => undefined,
    note: () => undefined,
    restrict(name, mode) {
      if (held.has(name)) restricted.push({ name, mode });
    },
    quarantine(name) {
      held.set(`${name}.damaged`, held.get(name) ?? '');
      held.delete(name);
      return `${name}.damaged`;
    },
    remove: (name) => void held.delete(name),
  };
  const ports: ResumePorts = {
    directory,
    pki,
    now: () => options.at ?? now,
    machine: () => options.machine ?? here,
    randomUUID: () => uuid,
    onQuarantined: (error) => void quarantined.push(error),
    onLeft: () => undefined,
    onReplaced: (reason, deviceId) => void replaced.push([reason, deviceId]),
  };
  const run = () => resume(ports, options.configuredId ?? null, options.fleetCa);
  return { run, held, writes, restricted, quarantined, replaced, state: () => currentState(directory) };
}

const key = { [files.key]: pki.keyPem('k1') };
const copies = {
  [files.deviceId]: `${oldId}\n`,
  [files.certificate]: provisioned.certificate,
  [files.caCertificate]: ca,
  [files.natsUrl]: 'tls://a:4222\n',
  [files.registration]: success,
};

test('a device that has nothing makes an id, and keeps it', () => {
  const device = start({});
  const expected = { deviceId: idOfUuid, alias: null, stage: 'keygen', renewAt: null, opened: false };
  expect(device.run()).toMatchObject(expected);
  expect(device.state()).toEqual({ ...newState(idOfUuid, true), machine: here });
  expect(device.held.get(files.deviceId)).toBe(idOfUuid);
  expect(device.writes).toEqual([
    { name: files.state, mode: 0o600 },
    { name: files.deviceId, mode: 0o644 },
  ]);
  expect(device.run()).toMatchObject(expected);
  expect(device.writes).toHaveLength(2);
  expect(device.quarantined).toEqual([]);
});

test.each<[string, Record<string, string>, ReplaceReason | null]>([
  ['is new', {}, null],
  ['has a damaged state and no key', { [files.state]: '{' }, 'state-damaged'],
  ['has its id only', { [files.deviceId]: oldId }, 'state-missing'],
  ['has a damaged state and lost its key', { ...copies, [files.state]: '{' }, 'key-lost'],
  ['has a damaged state that is rebuilt', { ...copies, ...key, [files.state]: '{' }, null],
])('a device that %s says once whether its identity is replaced', (_, disk, reason) => {
  const device = start(disk);
  const { deviceId } = device.run();
  device.run();
  expect(device.replaced).toEqual(reason === null ? [] : [[reason, deviceId]]);
});

test('a configured id is the device’s, and may have had an earlier life', () => {
  const device = start({}, { configuredId: 'd7' });
  expect(device.run().deviceId).toBe('d7');
  expect(device.state()).toMatchObject({ deviceId: 'd7', idIsNew: false });
});

test('an id that is on disk goes before a configured one', () => {
  expect(start({ [files.state]: stateOf() }, { configuredId: 'd7' }).run().deviceId).toBe(oldId);
});

test('an id that cannot be kept is none', () => {
  expect(start({}, { isReadOnly: true }).run).toThrow(expect.objectContaining({ code: 'STATE_UNWRITABLE' }));
});

test('the key is the owner’s only, at every start', () => {
  const device = start({ ...key, [files.state]: stateOf({ machine: here }) });
  expect(device.run().stage).toBe('csr');
  expect(device.restricted).toEqual([{ name: files.key, mode: 0o600 }]);
});

test('the keys of a rotation are the owner’s only, too', () => {
  const previous = { ...provisioned, certificate: certificate({ key: 'k0' }) };
  const text = stateOf({ machine: here, provisioned, previous, registration });
  const rotating = { [files.nextKey]: pki.keyPem('k2'), [files.previousKey]: pki.keyPem('k0') };
  const device = start({ ...key, ...rotating, [files.state]: text });
  device.run();
  const names = [files.key, files.nextKey, files.previousKey];
  expect(device.restricted).toEqual(names.map((name) => ({ name, mode: 0o600 })));
});

test('without a key there is none to restrict', () => {
  const device = start({ [files.state]: stateOf({ machine: here }) });
  device.run();
  expect(device.restricted).toEqual([]);
});

test.each<[string, Partial<DeviceState>, string]>([
  ['no certificate', {}, 'csr'],
  ['a certificate', { provisioned }, 'provisioned'],
  ['a certificate and a result', { provisioned, registration }, 'registered'],
  [
    'a certificate that is due and a result',
    { provisioned: { ...provisioned, renewAt: iso(now) }, registration },
    'renewal',
  ],
  [
    'a certificate that is due in a moment and a result',
    { provisioned: { ...provisioned, renewAt: iso(now + 1) }, registration },
    'registered',
  ],
  [
    'a certificate for another key',
    { provisioned: { ...provisioned, certificate: certificate({ key: 'k2' }) }, registration },
    'csr',
  ],
  [
    'a certificate that cannot be read',
    { provisioned: { ...provisioned, certificate: 'x' }, registration },
    'csr',
  ],
  [
    'a certificate that expires now',
    { provisioned: { ...provisioned, certificate: certificate({ notAfter: now }) }, registration },
    'registered',
  ],
  [
    'a certificate that has expired',
    { provisioned: { ...provisioned, certificate: certificate({ notAfter: now - 1 }) }, registration },
    'csr',
  ],
])('with a key and %s it goes on there', (_, changes, stage) => {
  const device = start({ ...key, [files.state]: stateOf({ machine: here, ...changes }) });
  expect(device.run()).toMatchObject({ deviceId: oldId, stage });
});

test('when the certificate is due, and whether it opened NATS, is as the state says', () => {
  const state = (opened: boolean) =>
    stateOf({ machine: here, provisioned: { ...provisioned, opened }, registration });
  expect(start({ ...key, [files.state]: state(true) }).run()).toMatchObject({
    ...{ renewAt: now + hour, opened: true },
  });
  expect(start({ ...key, [files.state]: state(false) }).run().opened).toBe(false);
});

test('a certificate of a CA that the configuration does not allow is as good as none', () => {
  const contents = { ...key, [files.state]: stateOf({ machine: here, provisioned, registration }) };
  expect(start(contents, { fleetCa: [ca.trim()] }).run().stage).toBe('registered');
  expect(start(contents, { fleetCa: ['another'] }).run().stage).toBe('csr');
});

test('a certificate without its key is as good as none', () => {
  const device = start({ [files.state]: stateOf({ machine: here, provisioned, registration }) });
  expect(device.run().stage).toBe('keygen');
});

test('a state that another machine made is refused, and left as it is', () => {
  const text = stateOf({ machine: { hardware: 'h2', installation: 'i1' } });
  const device = start({ ...key, [files.state]: text });
  expect(device.run).toThrow(
    expect.objectContaining({
      code: 'STATE_CLONED',
      message: `the identity ${oldId} was made on another machine and copied to this one`,
    }),
  );
  expect(device.held.get(files.state)).toBe(text);
  expect([device.writes, device.restricted, device.quarantined]).toEqual([[], [], []]);
});

test('a copied state is refused before its key is judged', () => {
  const text = stateOf({ machine: { hardware: 'h2', installation: 'i1' } });
  const device = start({ [files.key]: 'damaged', [files.state]: text });
  expect(device.run).toThrow(expect.objectContaining({ code: 'STATE_CLONED' }));
  expect(device.quarantined).toEqual([]);
});

test.each([
  ['of a copied identity', { machine: { hardware: 'h2', installation: 'i1' } }, 'STATE_CLONED'],
  ['that is half reset', { machine: here, resetting: true }, 'STATE_CORRUPT'],
])('a state %s that could not be read once is not passed over', (_, changes, code) => {
  const text = stateOf(changes);
  const device = start({ ...key, [files.state]: text }, { firstReadFails: true });
  expect(device.run).toThrow(expect.objectContaining({ code: 'STATE_UNWRITABLE' }));
  expect(device.run).toThrow(expect.objectContaining({ code }));
  expect(device.held.get(files.state)).toBe(text);
});

test('a state of a newer version is left to it, and so is its key', () => {
  const text = stateOf().replace('"version":1', '"version":2');
  const device = start({ [files.key]: 'of a kind to come', [files.state]: text });
  expect(device.run).toThrow(NewerStateError);
  expect(device.held.get(files.state)).toBe(text);
  expect([device.writes, device.quarantined]).toEqual([[], []]);
});

test.each<[string, HardwareId | null, HardwareId, HardwareId]>([
  ['the first time', null, here, here],
  ['what is known by now', { hardware: null, installation: 'i1' }, here, here],
  ['a system installed anew', { hardware: 'h1', installation: 'i0' }, here, here],
  ['nothing', here, nowhere, here],
])('the state is bound to the machine: %s', (_, machine, found, expected) => {
  const device = start({ ...key, [files.state]: stateOf({ machine, provisioned }) }, { machine: found });
  device.run();
  expect(device.state()).toMatchObject({ machine: expected, deviceId: oldId, provisioned });
});

test('a state that is bound already is not written again', () => {
  const device = start({ ...key, [files.deviceId]: oldId, [files.state]: stateOf({ machine: here }) });
  device.run();
  expect(device.writes).toEqual([]);
});

test('a damaged key is set aside, named, and a new one is made under the same id', () => {
  const device = start({ [files.key]: 'cut', [files.state]: stateOf({ machine: here, provisioned }) });
  expect(device.run()).toMatchObject({ deviceId: oldId, stage: 'keygen' });
  expect(device.held.get('identity.key.damaged')).toBe('cut');
  expect(device.quarantined).toEqual([
    expect.objectContaining({
      code: 'STATE_CORRUPT',
      message: 'identity.key was no private key; it is kept as identity.key.damaged, and a new key is made',
      cause: expect.any(TypeError),
    }),
  ]);
});

test('a damaged state is rebuilt from the copies beside it', () => {
  const device = start({ ...key, ...copies, [files.state]: '{' });
  expect(device.run()).toMatchObject({
    ...{ deviceId: oldId, alias: 'Alpha', stage: 'registered', renewAt: now + 6 * hour, opened: true },
  });
  expect(device.state()).toEqual({
    ...newState(oldId),
    machine: here,
    provisioned: { ...provisioned, renewAt: iso(now + 6 * hour) },
    pinnedCa: ca,
    registration: { ...registration, at: iso(now) },
    mayBeRegistered: true,
    request: {
      ...{ messageId: uuid, firstAt: iso(now), publishes: 1 },
      ...{ afterSequence: null, afterStoredAt: null, announced: null },
    },
  });
  expect(device.held.get('state.json.damaged')).toBe('{');
  expect(device.quarantined).toEqual([
    expect.objectContaining({
      code: 'STATE_CORRUPT',
      message:
        'state.json was damaged; it is kept as state.json.damaged; it was rebuilt from the files beside it',
      cause: expect.objectContaining({ message: 'state.json is not valid JSON' }),
    }),
  ]);
});

test('a state that is gone is rebuilt too, and nothing is set aside', () => {
  const device = start({ ...key, ...copies });
  expect(device.run()).toMatchObject({ deviceId: oldId, stage: 'registered' });
  expect(device.quarantined).toEqual([]);
});

test('a device that was only provisioned is rebuilt as that: its CA is not pinned, and it may have asked', () => {
  const { [files.registration]: _, ...rest } = copies;
  const device = start({ ...key, ...rest });
  expect(device.run()).toMatchObject({ stage: 'provisioned', opened: false });
  expect(device.state()).toMatchObject({
    ...{ pinnedCa: null, registration: null, mayBeRegistered: true },
    provisioned: { opened: false },
    request: { publishes: 1 },
  });
});

test.each([
  files.certificate,
  files.caCertificate,
  files.natsUrl,
])('without a sound %s nothing of a certificate is rebuilt', (name) => {
  const { [name]: _, ...rest } = copies;
  for (const contents of [rest, { ...rest, [name]: '' }]) {
    const device = start({ ...key, ...contents });
    expect(device.run()).toMatchObject({ deviceId: oldId, stage: 'csr' });
    expect(device.state()).toMatchObject({ provisioned: null, request: null, pinnedCa: null });
  }
});

test.each([
  ['a certificate for another key', files.certificate, certificate({ key: 'k2' })],
  ['a certificate that was cut', files.certificate, certificate().slice(0, 40)],
  ['a CA that was cut', files.caCertificate, ca.slice(0, 40)],
])('%s is not taken into what is rebuilt', (_, name, text) => {
  const device = start({ ...key, ...copies, [name]: text });
  expect(device.run().stage).toBe('csr');
  expect(device.state().provisioned).toBeNull();
});

test.each([
  ['a success', success, { alias: 'Alpha', result: success }],
  [
    'already registered',
    '{"status":"failure","error":"device already registered"}',
    { alias: null, result: '{"status":"failure","error":"device already registered"}' },
  ],
  ['a refusal', '{"status":"failure","error":"no"}', null],
  ['no result', '{"status":', null],
])('of the copy of a result, %s', (_, text, expected) => {
  const device = start({ ...key, ...copies, [files.registration]: text });
  device.run();
  if (expected === null) expect(device.state().registration).toBeNull();
  else expect(device.state().registration).toEqual({ ...expected, at: iso(now), announced: null });
});

test('without a key a damaged state gives back the id, which may be registered, and no certificate', () => {
  const device = start({ ...copies, [files.state]: '' });
  expect(device.run()).toMatchObject({ deviceId: oldId, stage: 'keygen' });
  expect(device.state()).toMatchObject({ provisioned: null, mayBeRegistered: true, request: null });
});

test('an id alone, without key and state, is not taken up', () => {
  const device = start({ [files.deviceId]: oldId });
  expect(device.run().deviceId).toBe(idOfUuid);
});

test.each([
  ['gone', undefined],
  ['empty', ''],
  ['cut short', oldId.slice(1)],
  ['longer than it was', `${oldId}0`],
  ['not of a kind that is made here', 'device-1'],
  ['no id', 'a b'],
])('an id that is %s, beside a readable key, is an identity that somebody has to give back', (_, text) => {
  for (const state of [undefined, '{']) {
    const device = start({
      ...key,
      ...(text === undefined ? {} : { [files.deviceId]: text }),
      ...(state === undefined ? {} : { [files.state]: state }),
    });
    expect(device.run).toThrow(
      expect.objectContaining({
        code: 'STATE_CORRUPT',
        message:
          'state.json is damaged or gone and the device id is nowhere else, while identity.key is readable',
      }),
    );
    expect([device.writes, device.quarantined]).toEqual([[], []]);
    expect(device.held.get(files.state)).toBe(state);
  }
});

test('the configured id gives it back', () => {
  const device = start({ ...key, [files.state]: '{' }, { configuredId: 'd7' });
  expect(device.run()).toMatchObject({ deviceId: 'd7', stage: 'csr' });
  expect(device.quarantined).toHaveLength(1);
});

test('a copy of the configured id is taken for what it is, whatever its form', () => {
  const device = start({ ...key, ...copies, [files.deviceId]: 'd7' }, { configuredId: 'd7' });
  expect(device.run()).toMatchObject({ deviceId: 'd7', stage: 'registered' });
});

test('a damaged state without a key and without a copy of the id is a new device', () => {
  const device = start({ [files.state]: '{' });
  expect(device.run()).toMatchObject({ deviceId: idOfUuid, stage: 'keygen' });
  expect(device.state().idIsNew).toBe(true);
  expect(device.quarantined[0]?.message).toBe(
    'state.json was damaged; it is kept as state.json.damaged; a new identity is made, since there was no key',
  );
});

const directoryIn = (stored: Map<string, string>) =>
  memoryDirectory(stored, {
    quarantine(name) {
      stored.delete(name);
      return `${name}.damaged-1`;
    },
  });

function startIn(stored: Map<string, string>) {
  const machine = () => ({ hardware: null, installation: null });
  const ports = {
    pki,
    now: () => now,
    machine,
    randomUUID: () => 'f-f',
    onQuarantined: () => {},
    onLeft: () => {},
    onReplaced: () => {},
  };
  return resume({ directory: directoryIn(stored), ...ports }, null);
}

test('a damaged state that knows of a key in a token is no reason to make another key', () => {
  const device = start({ ...copies, [files.state]: '{"version":1,"keyInToken": true,"x' });
  expect(device.run).toThrow(expect.objectContaining({ code: 'STATE_CORRUPT', reason: 'token-key-missing' }));
  expect([device.writes, device.quarantined]).toEqual([[], []]);
});

test('half a device id beside a damaged state is not taken for the whole', () => {
  const id = '0123456789abcdef0123456789abcdef';
  const damaged = (deviceId: string) =>
    new Map<string, string>([
      [files.state, '{"version":1,'],
      [files.key, pki.keyPem('k1')],
      [files.deviceId, deviceId],
    ]);
  expect(() => startIn(damaged(id.slice(0, 16)))).toThrow(/device id is nowhere else/);
  const whole = damaged(id);
  expect(startIn(whole).stage).toBe('csr');
  expect(JSON.parse(whole.get(files.state) ?? '')).toMatchObject({ deviceId: id, mayBeRegistered: true });
});

const caCertificate = pki.certificatePem({
  subject: 'root',
  key: 'root',
  issuer: 'root',
  notBefore: 0,
  notAfter: now + 1e12,
  authority: true,
  serial: 0,
});
function provisionedUntil(notAfter: number, key = 'k1') {
  const fields = { subject: 'fleet/d1', key, issuer: 'root', notBefore: now - 1e9, notAfter, serial: 1 };
  const certificate = pki.certificatePem({ ...fields, authority: false });
  const renewAt = new Date(notAfter - 1000).toISOString();
  return { certificate, caCertificate, natsUrl: 'tls://nats:4222', renewAt, opened: true };
}
function registeredWith(changes: Partial<DeviceState>, keys: Record<string, string> = {}) {
  const at = new Date(now).toISOString();
  const registration = { alias: 'Alpha', at, result: '{}', announced: null };
  const state = {
    ...newState('d1'),
    provisioned: provisionedUntil(now + 1e9),
    registration,
    ...changes,
  };
  return new Map<string, string>([
    [files.state, JSON.stringify(state)],
    [files.key, pki.keyPem('k1')],
    ...Object.entries(keys).map(([name, key]) => [name, pki.keyPem(key)] as const),
  ]);
}

test('a registered device says until when, and when it was verified', () => {
  const verifiedAt = new Date(now - 5000).toISOString();
  expect(startIn(registeredWith({ verifiedAt }))).toMatchObject({
    stage: 'registered',
    lack: null,
    notAfter: now + 1e9,
    verifiedAt: now - 5000,
    candidate: false,
    refused: false,
  });
});

test.each<[string, Partial<DeviceState>, Record<string, string>, string]>([
  ['lives', { candidate: provisionedUntil(now + 2e9) }, {}, 'renewal'],
  [
    'is for the next key',
    { candidate: provisionedUntil(now + 2e9, 'k2') },
    { [files.nextKey]: 'k2' },
    'renewal',
  ],
  ['is for a key that is gone', { candidate: provisionedUntil(now + 2e9, 'k2') }, {}, 'csr'],
  ['has expired, too', { candidate: provisionedUntil(now - 1) }, {}, 'csr'],
  [
    'does not belong to a registration',
    { candidate: provisionedUntil(now + 2e9), registration: null },
    {},
    'csr',
  ],
])('after the expiry a renewed certificate goes on if it %s', (_, changes, keys, stage) => {
  const expired = provisionedUntil(now - 2000);
  expect(startIn(registeredWith({ provisioned: expired, ...changes }, keys)).stage).toBe(stage);
});

test('a switch of keys that was cut off is finished before anything is judged', () => {
  const changes = { provisioned: provisionedUntil(now + 2e9, 'k2'), previous: provisionedUntil(now + 1e9) };
  const stored = registeredWith(changes, { [files.nextKey]: 'k2' });
  expect(startIn(stored).stage).toBe('registered');
  expect([files.key, files.nextKey, files.previousKey].map((name) => stored.get(name))).toEqual([
    pki.keyPem('k2'),
    undefined,
    pki.keyPem('k1'),
  ]);
});

test('a refused certificate is said to be one', () => {
  const refused = { ...provisionedUntil(now + 1e9), refused: true };
  expect(startIn(registeredWith({ provisioned: refused, registration: null }))).toMatchObject({
    stage: 'provisioned',
    refused: true,
    lack: 'registration-missing',
  });
});
