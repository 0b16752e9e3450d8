import { expect, test } from 'vitest';
import { OnboardingError } from '../../../../src/errors/onboardingError.ts';
import { keyFor, settleKeys } from '../../../../src/services/onboarding/keyRotation.ts';
import type { Identity } from '../../../../src/services/onboarding/register.ts';
import { renewCertificate, tryRenewed } from '../../../../src/services/onboarding/renewCertificate.ts';
import type { Session } from '../../../../src/services/onboarding/session.ts';
import {
  giveUpCertificate,
  verifyRegistration,
} from '../../../../src/services/onboarding/verifyRegistration.ts';
import {
  currentState,
  type DeviceState,
  files,
  newState,
  type Provisioned,
} from '../../../../src/services/state/deviceState.ts';
import * as pki from '../../../simulation/pki.ts';
import { memoryDirectory } from '../../../support/memoryDirectory.ts';

const now = Date.UTC(2026, 10, 24);
const hour = 3_600_000;
const known = 'tls://nats.fleet:4222';
const foreign = 'tls://nats.elsewhere:4222';
const commonName = 'fleet/device-1';
const caCertificate = certificate('root', 'root', 1000 * hour, true);
const { signal } = new AbortController();
const unreachable = new OnboardingError('NATS_UNREACHABLE', 'refused');

function certificate(key: string, subject: string, lifeMs: number, authority = false): string {
  const dates = { notBefore: now - hour, notAfter: now + lifeMs };
  return pki.certificatePem({ subject, key, issuer: 'root', ...dates, authority, serial: 1 });
}
const provisionedWith = (key: string, lifeMs: number, natsUrl = known): Provisioned => ({
  certificate: certificate(key, commonName, lifeMs),
  caCertificate,
  natsUrl,
  renewAt: new Date(now - 1).toISOString(),
  opened: true,
});
const old = provisionedWith('old', hour);
const candidate = { ...provisionedWith('old', 10 * hour), opened: false };

/** A registered device on a disk of memory. */
function device(changes: Partial<DeviceState> = {}, keys: Record<string, string> = {}) {
  const state = {
    ...newState('device-1'),
    provisioned: old,
    pinnedCa: caCertificate,
    registration: {
      alias: 'Alpha',
      at: new Date(now).toISOString(),
      result: '{"token":"secret"}',
      announced: null,
    },
    ...changes,
  };
  const contents = new Map([
    [files.key as string, pki.keyPem('old')],
    [files.state, JSON.stringify(state)],
    ...Object.entries(keys).map(([name, key]) => [name, pki.keyPem(key)] as const),
  ]);
  const directory = memoryDirectory(contents);
  const tried: Identity[] = [];
  const failing = new Map<string, Error>();
  const asked: pki.SigningRequest[] = [];
  const plain = new Set<string>();
  const silent = new Set<string>();
  const timers: { ms: number; end: () => void; cancelled: boolean }[] = [];
  let made = 0;
  const ports = {
    directory,
    pki,
    now: () => now,
    random: () => 0.5,
    newKey: async () => pki.keyPem(`new${++made}`),
    setTimer(ms: number, end: () => void) {
      const timer = { ms, end, cancelled: false };
      timers.push(timer);
      return () => {
        timer.cancelled = true;
      };
    },
    async connect(identity: Identity, attempt: AbortSignal): Promise<Session> {
      tried.push(identity);
      const error = failing.get(identity.natsUrl);
      if (error) throw error;
      if (silent.has(identity.natsUrl))
        await new Promise((_, reject) => attempt.addEventListener('abort', () => reject(attempt.reason)));
      const isEncrypted = !plain.has(identity.natsUrl);
      return { isEncrypted, close: async () => undefined } as unknown as Session;
    },
    async post(json: string) {
      const request = JSON.parse((JSON.parse(json) as { csr: string }).csr) as pki.SigningRequest;
      asked.push(request);
      const answer = {
        certificate: certificate(request.key, commonName, 10 * hour),
        caCertificate,
        fleetManagementNatsUrl: known,
      };
      const plain = { status: 200, contentType: 'application/json', serverTime: now, retryAfterMs: null };
      return { ...plain, body: JSON.stringify(answer) };
    },
  };
  const names = [files.key, files.nextKey, files.previousKey];
  return {
    ports,
    tried,
    failing,
    plain,
    silent,
    timers,
    asked,
    contents,
    state: () => currentState(directory),
    keys: () => names.map((name) => contents.get(name) && pki.spkiSha256Of(contents.get(name) ?? '')),
  };
}
const options = {
  swarmId: null,
  commonName,
  natsUrl: null,
  renewalAt: 0.5,
  authenticated: false,
  fleetCa: null,
  builtAt: 0,
  newKey: false,
};

test('a renewed certificate is kept beside the one in use until it was tried', async () => {
  const { ports, state, keys } = device();
  await renewCertificate(ports, options, signal);
  expect(state()).toMatchObject({ provisioned: old, candidate: { opened: false } });
  const renewed = state().candidate;
  await tryRenewed(ports, options, signal);
  expect(state()).toMatchObject({
    provisioned: { ...renewed, opened: true },
    candidate: null,
    previous: old,
    verifiedAt: new Date(now).toISOString(),
  });
  expect(keys()).toEqual(['old', undefined, undefined]);
});

test('a new key is durable before its CSR leaves, and is used up before another one is made', async () => {
  const { ports, keys, asked, contents } = device();
  const failing = {
    ...ports,
    post: async () => {
      expect(keys()).toEqual(['old', 'new1', undefined]);
      throw unreachable;
    },
  };
  for (const _ of [1, 2])
    await expect(renewCertificate(failing, { ...options, newKey: true }, signal)).rejects.toBe(unreachable);
  await renewCertificate(ports, { ...options, newKey: true }, signal);
  expect(asked.map(({ key }) => key)).toEqual(['new1']);
  contents.set(files.nextKey, 'damaged');
  await renewCertificate(ports, { ...options, newKey: true }, signal);
  expect(asked.map(({ key }) => key)).toEqual(['new1', 'new2']);
});

test('a new key takes the place of the old one with its certificate, and the old one is kept', async () => {
  const { ports, keys, tried } = device();
  await renewCertificate(ports, { ...options, newKey: true }, signal);
  expect(keys()).toEqual(['old', 'new1', undefined]);
  await tryRenewed(ports, options, signal);
  expect(tried.map(({ key }) => pki.spkiSha256Of(key))).toEqual(['new1']);
  expect(keys()).toEqual(['new1', undefined, 'old']);
});

test('a trial that fails changes nothing', async () => {
  const { ports, state, failing } = device({ candidate });
  failing.set(known, unreachable);
  const before = state();
  await expect(tryRenewed(ports, options, signal)).rejects.toBe(unreachable);
  expect(state()).toEqual(before);
});

test('the trial goes to the address that is configured', async () => {
  const { ports, tried } = device({ candidate: { ...candidate, natsUrl: foreign } });
  await tryRenewed(ports, { ...options, natsUrl: 'tls://configured:4222' }, signal);
  expect(tried.map(({ natsUrl }) => natsUrl)).toEqual(['tls://configured:4222']);
});

test('an address that has to prove itself and does not leaves the trial to the one that is known', async () => {
  const { ports, tried, failing, state } = device({ candidate: { ...candidate, natsUrl: foreign } });
  failing.set(foreign, unreachable);
  expect(await tryRenewed(ports, options, signal)).toMatchObject({
    opened: true,
    addressRefused: { code: 'NATS_UNREACHABLE' },
  });
  expect(tried.map(({ natsUrl }) => natsUrl)).toEqual([foreign, known]);
  expect(state().provisioned).toMatchObject({ certificate: candidate.certificate, natsUrl: known });
});

test('an address that has to prove itself and does is taken, and over HTTPS it need not', async () => {
  for (const authenticated of [false, true]) {
    const { ports, tried, state } = device({ candidate: { ...candidate, natsUrl: foreign } });
    const renewed = await tryRenewed(ports, { ...options, authenticated }, signal);
    expect(renewed.addressRefused).toBeUndefined();
    expect(tried.map(({ natsUrl }) => natsUrl)).toEqual([foreign]);
    expect(state().provisioned?.natsUrl).toBe(foreign);
  }
});

test.each([
  ['taken without a trial', known, undefined],
  ['taken with the address that is known', foreign, { code: 'NATS_UNREACHABLE' }],
])('once the old certificate has expired, the renewed one is %s', async (_, natsUrl, addressRefused) => {
  const expired = provisionedWith('old', -1);
  const { ports, tried, state } = device({ provisioned: expired, candidate: { ...candidate, natsUrl } });
  expect(await tryRenewed(ports, options, signal)).toMatchObject({
    opened: false,
    ...(addressRefused && { addressRefused }),
  });
  expect(tried).toEqual([]);
  expect(state()).toMatchObject({
    provisioned: { certificate: candidate.certificate, natsUrl: known, opened: false },
    previous: null,
    candidate: null,
  });
});

test.each<[string, Partial<DeviceState>]>([
  ['it is gone', { candidate: null }],
  ['it is for a key that is gone', { candidate: provisionedWith('lost', hour) }],
  ['it is damaged', { candidate: { ...candidate, certificate: 'damaged' } }],
  ['there is none in use', { candidate, provisioned: null }],
])('a renewed certificate cannot be tried: %s', async (_, changes) => {
  const { ports, tried } = device(changes);
  await expect(tryRenewed(ports, options, signal)).rejects.toMatchObject({
    code: 'STATE_CORRUPT',
    class: 'transient',
    message: 'the renewed certificate is gone',
  });
  expect(tried).toEqual([]);
});

const dates = { serial: '1', notAfter: new Date(now + 10 * hour).toISOString(), renewAt: candidate.renewAt };
const atForeign = { ...candidate, natsUrl: foreign };

test.each<[string, Partial<DeviceState>, object]>([
  ['opened', { candidate }, { ...dates, opened: true }],
  ['opened at an address that had to prove itself', { candidate: atForeign }, { ...dates, opened: true }],
  [
    'not tried',
    { candidate: atForeign, provisioned: provisionedWith('old', -1) },
    {
      ...dates,
      opened: false,
      addressRefused: {
        code: 'NATS_UNREACHABLE',
        cause: 'the certificate expired before it could be opened',
      },
    },
  ],
])('a renewed certificate that was %s is told with its dates', async (_, changes, told) => {
  const { ports, state } = device(changes);
  expect(await tryRenewed(ports, options, signal)).toEqual(told);
  expect(state().provisioned?.opened).toBe((told as { opened: boolean }).opened);
});

test('a new address without TLS is not taken', async () => {
  const { ports, plain, tried, state } = device({ candidate: atForeign });
  plain.add(foreign);
  expect(await tryRenewed(ports, options, signal)).toEqual({
    ...dates,
    opened: true,
    addressRefused: { code: 'NATS_NOT_SECURE', cause: 'the NATS server offers no TLS' },
  });
  expect(tried.map(({ natsUrl }) => natsUrl)).toEqual([foreign, known]);
  expect(state().provisioned?.natsUrl).toBe(known);
});

test('a new address that is silent leaves time for the known one', async () => {
  const { ports, silent, timers, tried } = device({ candidate: atForeign });
  silent.add(foreign);
  const renewed = tryRenewed(ports, options, signal);
  await expect.poll(() => timers.length).toBe(1);
  expect(timers[0]).toMatchObject({ ms: 15_000, cancelled: false });
  timers[0]?.end();
  expect((await renewed).addressRefused).toEqual({
    code: 'NATS_UNREACHABLE',
    cause: 'the new NATS address did not open in 15000 ms',
  });
  expect(timers[0]?.cancelled).toBe(true);
  expect(tried.map(({ natsUrl }) => natsUrl)).toEqual([foreign, known]);
});

test('a trial that is aborted at a new address ends with the reason, and changes nothing', async () => {
  const { ports, silent, timers, state } = device({ candidate: atForeign });
  silent.add(foreign);
  const controller = new AbortController();
  const renewed = tryRenewed(ports, options, controller.signal);
  const before = state();
  controller.abort(new Error('the daemon stops'));
  await expect(renewed).rejects.toThrow('the daemon stops');
  expect(timers[0]?.cancelled).toBe(true);
  expect(state()).toEqual(before);
});

test.each([
  new OnboardingError('STATE_UNWRITABLE', 'the disk is full'),
  Object.assign(new Error('a bug'), { code: 'NATS_UNREACHABLE' }),
])('what is not the fault of a new address ends the trial: $message', async (error) => {
  const { ports, failing, tried } = device({ candidate: atForeign });
  failing.set(foreign, error);
  await expect(tryRenewed(ports, options, signal)).rejects.toBe(error);
  expect(tried).toHaveLength(1);
});

test.each([
  ['a device without a pinned CA pins none', null, null],
  [
    'a pinned CA hands over to that of the renewed certificate',
    certificate('other', 'other', hour, true),
    caCertificate,
  ],
])('%s', async (_, pinnedCa, then) => {
  const { ports, state } = device({ candidate, pinnedCa });
  await tryRenewed(ports, options, signal);
  expect(state().pinnedCa).toBe(then);
});

test.each([
  ['in its last millisecond is kept for a rollback', 0, true],
  ['a millisecond later is not', -1, false],
])('the certificate that is replaced %s', async (_, lifeMs, isKept) => {
  const { ports, state } = device({ provisioned: provisionedWith('old', lifeMs), candidate });
  await tryRenewed(ports, options, signal);
  expect(state().previous !== null).toBe(isKept);
});

test('a key that an interrupted rotation left in both places is not used twice', async () => {
  const { ports, asked } = device({}, { [files.nextKey]: 'old' });
  await renewCertificate(ports, { ...options, newKey: true }, signal);
  expect(asked.map(({ key }) => key)).toEqual(['new1']);
});

test('a new key that does not read back as it was written certifies nothing', async () => {
  const { ports, asked } = device();
  const directory = { ...ports.directory, write: () => undefined };
  await expect(
    renewCertificate({ ...ports, directory }, { ...options, newKey: true }, signal),
  ).rejects.toMatchObject({
    code: 'STATE_UNWRITABLE',
    message: 'identity.key.next does not read back as it was written',
  });
  expect(asked).toEqual([]);
});

test('a renewal that is aborted while its key is made writes none', async () => {
  const { ports, keys } = device();
  const controller = new AbortController();
  const newKey = async () => {
    controller.abort(new Error('the daemon stops'));
    return pki.keyPem('new');
  };
  await expect(
    renewCertificate({ ...ports, newKey }, { ...options, newKey: true }, controller.signal),
  ).rejects.toThrow('the daemon stops');
  expect(keys()).toEqual(['old', undefined, undefined]);
});

const renewedState = { provisioned: { ...candidate, certificate: certificate('new', commonName, 9 * hour) } };

test('a verified device needs neither the certificate before nor its key', async () => {
  const { ports, state, keys } = device(
    { ...renewedState, previous: old },
    { [files.key]: 'new', [files.previousKey]: 'old' },
  );
  await verifyRegistration(ports, options, signal);
  expect(state()).toMatchObject({ previous: null, verifiedAt: new Date(now).toISOString() });
  expect(state().provisioned?.opened).toBe(true);
  expect(keys()).toEqual(['new', undefined, undefined]);
});

test.each([
  [false, false],
  [true, true],
])('NATS without TLS proves no certificate: opened %s stays %s', async (before, then) => {
  const { ports, plain, state } = device({ provisioned: { ...old, opened: before } });
  plain.add(known);
  await verifyRegistration(ports, options, signal);
  expect(state().provisioned?.opened).toBe(then);
});

test('a device whose certificate is gone verifies nothing', async () => {
  const { ports, tried } = device({ provisioned: null });
  await expect(verifyRegistration(ports, options, signal)).rejects.toMatchObject({
    code: 'STATE_CORRUPT',
    message: 'the certificate is gone',
  });
  expect(tried).toEqual([]);
});

test.each([
  ['brings the renewal forward', { authenticated: true }, -1, now],
  ['brings it forward with a pin', { fleetCa: ['ab'] }, -1, now],
  ['does not over plain HTTP', {}, -1, now + hour],
  ['leaves one that is due already', { authenticated: true }, 1, now - 1],
])('a NATS server of another CA %s', async (_, trust, isLate, due) => {
  const renewAt = new Date(isLate > 0 ? now - 1 : now + hour).toISOString();
  const { ports, state, failing } = device({ provisioned: { ...old, renewAt }, previous: old });
  const untrusted = new OnboardingError('NATS_TLS', 'another CA', { reason: 'tls-untrusted' });
  failing.set(known, untrusted);
  await expect(verifyRegistration(ports, { ...options, ...trust }, signal)).rejects.toBe(untrusted);
  expect(state()).toMatchObject({
    provisioned: { ...old, renewAt: new Date(due).toISOString() },
    previous: old,
  });
});

test.each([
  ['a day ago from the CA in use, makes room for another request', 24 * hour, caCertificate, false],
  ['later than that', 24 * hour - 1, caCertificate, true],
  ['from another CA', 24 * hour, certificate('other', 'other', hour, true), true],
])('a renewed certificate that cannot open a NATS server of another CA, issued %s', async (_, ageMs, ca, stays) => {
  const leaf = { subject: commonName, key: 'old', issuer: 'root', authority: false, serial: 1 };
  const aged = pki.certificatePem({ ...leaf, notBefore: now - ageMs, notAfter: now + hour });
  const kept = { ...candidate, certificate: aged, caCertificate: ca };
  const { ports, state, failing } = device({ candidate: kept });
  failing.set(known, new OnboardingError('NATS_TLS', 'another CA', { reason: 'tls-untrusted' }));
  await expect(verifyRegistration(ports, { ...options, authenticated: true }, signal)).rejects.toMatchObject({
    code: 'NATS_TLS',
  });
  expect(state().candidate).toEqual(stays ? kept : null);
  expect(state().provisioned).toEqual(old);
});

test('NATS that cannot be opened changes nothing', async () => {
  const { ports, state, failing } = device({ previous: old });
  failing.set(known, unreachable);
  const before = state();
  await expect(verifyRegistration(ports, options, signal)).rejects.toBe(unreachable);
  expect(state()).toEqual(before);
});

test('a refused certificate is rolled back with its key, once', () => {
  const { ports, state, keys } = device(
    { ...renewedState, previous: old },
    { [files.key]: 'new', [files.previousKey]: 'old' },
  );
  expect(giveUpCertificate(ports)).toEqual({ rolledBackTo: new Date(now + hour).toISOString() });
  expect(state()).toMatchObject({ provisioned: old, previous: null, registration: { alias: 'Alpha' } });
  expect(keys()).toEqual(['old', undefined, undefined]);
  expect(giveUpCertificate(ports)).toEqual({ rolledBackTo: null });
});

test.each([
  ['has expired', { previous: provisionedWith('old', -1) }, {}],
  ['is for a key that is gone', { previous: provisionedWith('lost', hour) }, {}],
  ['was never there', {}, {}],
  ['is damaged', { previous: { ...old, certificate: 'damaged' } }, {}],
])('a refused certificate ends the registration if the one before %s', (_, changes, keys) => {
  const { ports, state } = device(changes, keys);
  expect(giveUpCertificate(ports)).toEqual({ rolledBackTo: null });
  expect(state()).toMatchObject({
    deviceId: 'device-1',
    provisioned: { certificate: old.certificate, refused: true, opened: false },
    registration: null,
    formerRegistration: { alias: 'Alpha' },
    mayBeRegistered: true,
    pinnedCa: caCertificate,
  });
});

test.each([
  ['has none', null, null],
  ['has one', certificate('other', 'other', hour, true), caCertificate],
])('a rollback gives the CA of the certificate to the pin of a device that %s', (_, pinnedCa, then) => {
  const { ports, state } = device(
    { ...renewedState, previous: old, pinnedCa },
    { [files.previousKey]: 'old' },
  );
  giveUpCertificate(ports);
  expect(state().pinnedCa).toBe(then);
});

test('a key file that is damaged counts as absent', () => {
  const { ports, state, contents } = device({ ...renewedState, previous: old }, { [files.key]: 'new' });
  contents.set(files.previousKey, 'damaged');
  contents.set(files.nextKey, 'damaged');
  expect(settleKeys(ports, state(), 'new').key).toBe('new');
  expect(keyFor(ports, old.certificate)).toBeNull();
  expect(keyFor(ports, 'damaged')).toBeNull();
});

test('a lost key is followed by the one before, if its certificate is still there', () => {
  const { ports, state, keys, contents } = device(
    { ...renewedState, previous: old },
    { [files.previousKey]: 'old' },
  );
  contents.delete(files.key);
  expect(settleKeys(ports, state(), null).key).toBe('old');
  expect(state()).toMatchObject({ provisioned: old, previous: null });
  expect(keys()).toEqual(['old', undefined, undefined]);
});
