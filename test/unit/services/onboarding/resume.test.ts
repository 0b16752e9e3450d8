import { expect, test } from 'vitest';
import { resume } from '../../../../src/services/onboarding/resume.ts';
import {
  type DeviceState,
  files,
  newState,
  type StateDirectory,
} from '../../../../src/services/state/deviceState.ts';
import * as pki from '../../../simulation/pki.ts';

const now = Date.UTC(2026, 10, 23);

function directoryOf(stored: Map<string, string>): StateDirectory {
  return {
    read: (name) => stored.get(name) ?? null,
    write: (name, text) => void stored.set(name, text),
    refresh: (name, text) => void stored.set(name, text),
    restrict: () => undefined,
    quarantine(name) {
      stored.delete(name);
      return `${name}.damaged-1`;
    },
    remove: (name) => void stored.delete(name),
  };
}

function start(stored: Map<string, string>) {
  const machine = () => ({ hardware: null, installation: null });
  const ports = { pki, now: () => now, machine, randomUUID: () => 'f-f', onQuarantined: () => {} };
  return resume({ directory: directoryOf(stored), ...ports }, null);
}

test('half a device id beside a damaged state is not taken for the whole', () => {
  const id = '0123456789abcdef0123456789abcdef';
  const damaged = (deviceId: string) =>
    new Map<string, string>([
      [files.state, '{"version":1,'],
      [files.key, pki.keyPem('k1')],
      [files.deviceId, deviceId],
    ]);
  expect(() => start(damaged(id.slice(0, 16)))).toThrow(/device id is nowhere else/);
  const whole = damaged(id);
  expect(start(whole).stage).toBe('csr');
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
  const registration = { alias: 'Alpha', at, result: '{}' };
  const state = {
    ...newState('d1', now),
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
  expect(start(registeredWith({ verifiedAt }))).toMatchObject({
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
  expect(start(registeredWith({ provisioned: expired, ...changes }, keys)).stage).toBe(stage);
});

test('a switch of keys that was cut off is finished before anything is judged', () => {
  const changes = { provisioned: provisionedUntil(now + 2e9, 'k2'), previous: provisionedUntil(now + 1e9) };
  const stored = registeredWith(changes, { [files.nextKey]: 'k2' });
  expect(start(stored).stage).toBe('registered');
  expect([files.key, files.nextKey, files.previousKey].map((name) => stored.get(name))).toEqual([
    pki.keyPem('k2'),
    undefined,
    pki.keyPem('k1'),
  ]);
});

test('a refused certificate is said to be one', () => {
  const refused = { ...provisionedUntil(now + 1e9), refused: true };
  expect(start(registeredWith({ provisioned: refused, registration: null }))).toMatchObject({
    stage: 'provisioned',
    refused: true,
    lack: 'registration-missing',
  });
});
