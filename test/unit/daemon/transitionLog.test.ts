import { expect, test } from 'vitest';
import {
  entryOfAdopted,
  entryOfEmitted,
  entryOfExportFailure,
  entryOfLeftOut,
  entryOfQuarantined,
  type LogEntry,
  write,
} from '../../../src/daemon/transitionLog.ts';
import { OnboardingError } from '../../../src/errors/onboardingError.ts';
import type { EmittedEvent } from '../../../src/machines/contracts.ts';

const failed = {
  type: 'step.failed',
  step: 'registering',
  code: 'NATS_TLS',
  reason: null,
  class: 'transient',
  attempt: 2,
  retryInMs: 1234,
  cause: 'not trusted',
} as const;

test.each<[EmittedEvent, string, string]>([
  [failed, 'warn', 'registering, attempt 2: NATS_TLS: not trusted; next try in 1.2 s'],
  [
    { ...failed, retryInMs: null },
    'warn',
    'registering, attempt 2: NATS_TLS: not trusted; no further try by itself',
  ],
  [
    {
      type: 'certificate.renewed',
      serial: 'A1',
      notAfter: '2027-01-01T00:00:00Z',
      renewAt: '2026-12-20T00:00:00Z',
    },
    'info',
    'the certificate was renewed and is valid until 2027-01-01T00:00:00Z',
  ],
  [
    { type: 'certificate.rolled-back', notAfter: '2027-01-01T00:00:00Z' },
    'warn',
    'NATS refuses the new certificate for good: the one before is back, valid until 2027-01-01T00:00:00Z',
  ],
  [
    { type: 'registration.left', reason: 'certificate-expired' },
    'warn',
    'the device is not registered any more: certificate-expired',
  ],
  [
    { type: 'address.refused', code: 'NATS_UNREACHABLE', cause: 'refused' },
    'warn',
    'the new NATS address is not taken: NATS_UNREACHABLE: refused',
  ],
  [
    { type: 'certificate.useless', code: 'NATS_TLS', failures: 10 },
    'warn',
    'the certificate did not open NATS in the last 10 tries: another one is asked for',
  ],
])('%j is one line with all its fields', (emitted, level, message) => {
  const { type, ...fields } = emitted;
  expect(entryOfEmitted(emitted)).toEqual([level, type, message, fields]);
});

test('a failure that keeps a certificate from being renewed is an error shortly before it expires', () => {
  const { type, ...fields } = failed;
  expect(entryOfEmitted({ ...failed, urgent: true })).toEqual([
    'error',
    type,
    'registering, attempt 2: NATS_TLS: not trusted; next try in 1.2 s; the certificate expires soon',
    fields,
  ]);
});

test('a quarantined file is a failure of the start that goes on at once', () => {
  const error = new OnboardingError('STATE_CORRUPT', 'the key is kept as x');
  expect(entryOfQuarantined(error)).toEqual([
    'warn',
    'step.failed',
    'the key is kept as x',
    {
      step: 'idle',
      code: 'STATE_CORRUPT',
      reason: null,
      class: 'permanent',
      attempt: 1,
      retryInMs: 0,
      cause: 'the key is kept as x',
    },
  ]);
});

test('an entry is written as it is', () => {
  const lines: unknown[] = [];
  const entry: LogEntry = ['debug', 'progress.unsaved', 'no space', {}];
  write((...line) => lines.push(line), entry);
  expect(lines).toEqual([entry]);
});

test('an adopted identity is told with what became of key and certificate', () => {
  const kept = { deviceId: 'abc', key: 'kept', certificate: 'kept', reason: null } as const;
  expect(entryOfAdopted(kept)).toEqual([
    'info',
    'identity.adopted',
    'the identity abc of the earlier agent was taken over; key and certificate are kept',
    { key: 'kept', certificate: 'kept', cause: null },
  ]);
  const fresh = { deviceId: 'abc', key: 'new', certificate: 'requested', reason: 'there is no key' } as const;
  expect(entryOfAdopted(fresh)).toEqual([
    'info',
    'identity.adopted',
    'the identity abc of the earlier agent was taken over; key: new, certificate: requested: there is no key',
    { key: 'new', certificate: 'requested', cause: 'there is no key' },
  ]);
});

test('an export that fails is a warning with item, path and cause, and so is a field that is left out', () => {
  const error = new OnboardingError('STATE_UNWRITABLE', 'the disk is full', { reason: 'disk-full' });
  expect(entryOfExportFailure({ item: 'token', path: '/a', error })).toEqual([
    'warn',
    'export.failed',
    'token is not exported: STATE_UNWRITABLE: the disk is full',
    { item: 'token', path: '/a', code: 'STATE_UNWRITABLE', reason: 'disk-full', cause: 'the disk is full' },
  ]);
  expect(entryOfLeftOut({ key: 'device.alias', message: 'device.alias is left out' })).toEqual([
    'warn',
    'config.warning',
    'device.alias is left out',
    { key: 'device.alias' },
  ]);
});
