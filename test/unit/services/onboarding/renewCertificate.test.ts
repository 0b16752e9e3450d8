import { expect, test } from 'vitest';
import { OnboardingError } from '../../../../src/errors/onboardingError.ts';
import { settleKeys } from '../../../../src/services/onboarding/keyRotation.ts';
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
  type StateDirectory,
} from '../../../../src/services/state/deviceState.ts';
import * as pki from '../../../simulation/pki.ts';

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
  const directory: StateDirectory = {
    read: (name) => contents.get(name) ?? null,
    write: (name, text) => void contents.set(name, text),
    refresh: (name, text) => void contents.set(name, text),
    settle: () => undefined,
    note: () => undefined,
    restrict: () => undefined,
    quarantine: (name) => name,
    remove: (name) => void contents.delete(name),
  };
  const tried: Identity[] = [];
  const failing = new Map<string, Error>();
  const asked: pki.SigningRequest[] = [];
  let made = 0;
  const ports = {
    directory,
    pki,
    now: () => now,
    random: () => 0.5,
    newKey: async () => pki.keyPem(`new${++made}`),
    setTimer: () => () => undefined,
    async connect(identity: Identity): Promise<Session> {
      tried.push(identity);
      const error = failing.get(identity.natsUrl);
      if (error) throw error;
      return { isEncrypted: true, close: async () => undefined } as unknown as Session;
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

test.each([
  ['it is gone', null],
  ['it is for a key that is gone', provisionedWith('lost', hour)],
])('a renewed certificate cannot be tried: %s', async (_, lost) => {
  const { ports } = device({ candidate: lost });
  await expect(tryRenewed(ports, options, signal)).rejects.toMatchObject({
    code: 'STATE_CORRUPT',
    class: 'transient',
  });
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
