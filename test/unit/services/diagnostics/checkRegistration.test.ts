import { expect, test } from 'vitest';
import { reasons } from '../../../../src/errors/reasons.ts';
import { checkRegistration } from '../../../../src/services/diagnostics/checkRegistration.ts';
import { type Status, statusOf } from '../../../../src/services/diagnostics/status.ts';
import * as reader from '../../../simulation/pki.ts';

const fresh = statusOf(null, () => null, { reader, version: '1', running: true });
const error = (code: string, reason: string | null): Status['lastError'] => ({
  code,
  reason,
  message: 'it failed',
  at: '2026-11-24T00:00:00Z',
});

test.each<[string, Partial<Status>, object]>([
  [
    'is registered',
    { state: 'registered', alias: 'Alpha', since: '2026-11-24T00:00:00Z' },
    { verdict: 'pass', detail: 'registered as Alpha, since 2026-11-24 00:00:00 UTC' },
  ],
  [
    'is registered, and its daemon is off',
    { state: 'registered', running: false },
    { verdict: 'pass', detail: 'registered; the daemon is not running' },
  ],
  [
    'has failed',
    { state: 'csr', lastError: error('PROVISIONING_REJECTED', 'http-404') },
    {
      ...{ verdict: 'fail', code: 'PROVISIONING_REJECTED', reason: 'http-404' },
      ...{ detail: 'csr: it failed', remedy: reasons['http-404'].remedy },
    },
  ],
  [
    'is registered, and fails to renew',
    { state: 'registered', lastError: error('PROVISIONING_REJECTED', 'http-503') },
    { verdict: 'fail', code: 'PROVISIONING_REJECTED', detail: 'registered, but it failed' },
  ],
  [
    'has met an error of another version',
    { lastError: error('TOMORROW', 'unheard-of') },
    { verdict: 'fail', code: 'INTERNAL', reason: null },
  ],
  [
    'ended with a configuration that may have been corrected since',
    { running: false, lastError: error('CONFIG_INVALID', null) },
    {
      ...{ verdict: 'fail', code: 'CONFIG_INVALID', detail: 'idle: it failed' },
      remedy: 'If the configuration has been corrected since, start the daemon: `systemctl start onboardd`.',
    },
  ],
  [
    'is on its way',
    {},
    {
      ...{ verdict: 'fail', code: null, detail: 'not registered yet: busy' },
      remedy: expect.stringContaining('Wait'),
    },
  ],
  [
    'has not been started',
    { running: false },
    { verdict: 'fail', code: null, remedy: expect.stringContaining('systemctl start onboardd') },
  ],
])('the check of a device that %s', (_, change, expected) => {
  expect(checkRegistration({ ...fresh, ...change }, 'busy')).toMatchObject(expected);
});
