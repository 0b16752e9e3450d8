import { expect, test } from 'vitest';
import { catalogue } from '../../../src/errors/catalogue.ts';
import { observedFailure } from '../../../src/errors/networkProblem.ts';
import { OnboardingError } from '../../../src/errors/onboardingError.ts';
import {
  codeOf,
  type Reason,
  type ReasonEntry,
  reasonOfStatus,
  reasons,
  remedyOf,
} from '../../../src/errors/reasons.ts';

test.each(
  Object.entries<ReasonEntry>(reasons),
)('%s advises something that fits the server', (name, entry) => {
  const { codes, cause } = entry;
  const [provisioning, natsCode] = codes;
  const code = provisioning ?? natsCode;
  expect(code).not.toBeNull();
  expect(cause).toMatch(/^\S.*[^.]$/);
  for (const [own, strange] of [
    [provisioning, /NATS|nats\./],
    [natsCode, /`provisioning\./],
  ] as const) {
    if (own === null) continue;
    const remedy = remedyOf(own, name as Reason);
    expect(remedy).toMatch(/^[A-Z].*\.$/);
    expect(remedy).not.toMatch(strange);
  }
});

test('reasons advise different things where they demand different things', () => {
  const advice = (reason: Reason) => remedyOf(codeOf(reason, 'provisioning') ?? 'INTERNAL', reason);
  const http = ['http-401', 'http-404', 'http-409', 'http-429', 'http-500', 'http-503'] as const;
  expect(new Set(http.map(advice)).size).toBe(http.length);
  expect(advice('http-403')).toBe(advice('http-401'));
  expect(remedyOf('NATS_TLS', 'tls-untrusted')).not.toBe(remedyOf('PROVISIONING_TLS', 'tls-untrusted'));
});

test('a failure without a reason, or with one of another code, is advised by its code', () => {
  expect(remedyOf('NATS_TLS', null)).toBe(catalogue.NATS_TLS.remedy);
  expect(remedyOf('STATE_CORRUPT', 'refused')).toBe(catalogue.STATE_CORRUPT.remedy);
});

test.each([
  [200, null],
  [204, null],
  [301, 'redirected'],
  [400, 'http-400'],
  [401, 'http-401'],
  [403, 'http-403'],
  [404, 'http-404'],
  [409, 'http-409'],
  [418, 'http-4xx'],
  [429, 'http-429'],
  [500, 'http-500'],
  [503, 'http-503'],
  [507, 'http-5xx'],
  [511, 'http-511'],
  [999, null],
])('HTTP %i is %s', (status, reason) => {
  expect(reasonOfStatus(status)).toBe(reason);
});

test('codes that have one reason only carry it, whoever throws them', () => {
  expect(new OnboardingError('PROVISIONING_TIMEOUT', 'x').reason).toBe('timeout');
  expect(new OnboardingError('NATS_NOT_SECURE', 'x').reason).toBe('no-tls');
  expect(new OnboardingError('NATS_UNREACHABLE', 'x').reason).toBeNull();
  expect(observedFailure('not-nats', 'nats', 'x')).toMatchObject({
    code: 'NATS_UNREACHABLE',
    reason: 'not-nats',
  });
});
