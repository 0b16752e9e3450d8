import { expect, test } from 'vitest';
import { checkOwner, type Ownership } from '../../../../src/services/diagnostics/checkOwner.ts';

const folder = '/var/lib/onboardd';
const own = (owner: string, key = owner) => [
  { name: '.', owner },
  { name: 'identity.key', owner: key },
];

test.each<[string, Partial<Ownership>, string | null]>([
  ['all of it belongs to the owner of the directory', {}, null],
  ['all of it belongs to the user of the unit', { service: 'onboardd', daemon: 'onboardd' }, null],
  [
    'a file was written by root',
    { owners: own('onboardd', 'root') },
    '/var/lib/onboardd/identity.key belongs to root, not to onboardd',
  ],
  [
    'the directory was made by root',
    { service: 'onboardd', owners: own('root') },
    '/var/lib/onboardd belongs to root, not to onboardd',
  ],
  [
    'a daemon was started by hand',
    { service: 'onboardd', daemon: 'root' },
    "a daemon runs as root, but the service's user is onboardd",
  ],
  [
    'a daemon was started by hand, without a unit',
    { daemon: 'root' },
    'a daemon runs as root, but /var/lib/onboardd belongs to onboardd',
  ],
  ['nothing is known', { owners: [] }, null],
])('the owner is right, or not: %s', (_, change, detail) => {
  const found = checkOwner({ folder, service: null, daemon: null, owners: own('onboardd'), ...change });
  expect(found?.detail ?? null).toBe(detail);
  if (found === null) return;
  expect(found).toMatchObject({ verdict: 'fail', code: 'STATE_UNWRITABLE', reason: 'wrong-owner' });
  expect(found.remedy).toContain('chown -R onboardd: /var/lib/onboardd');
});
