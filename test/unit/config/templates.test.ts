import { expect, test } from 'vitest';
import { type Templates, templateWarnings } from '../../../src/config/templates.ts';

const none = { alias: null, currentOwner: null, tailscaleID: null, buildVersion: null };
const commonName = '/fleet/{id}/agent';

test.each<[string, Partial<Templates['identity']>, Partial<Templates['device']>, [string, RegExp][]]>([
  ['nothing of the defaults', {}, {}, []],
  ['no placeholder that is filled in', {}, { alias: '{hostname}-{serial}-{machineId}-{id}' }, []],
  ['no braces without a name', {}, { alias: '{} {1} {"a":1} {a b}' }, []],
  [
    'a misspelt placeholder',
    {},
    { alias: '{hostName}-1' },
    [['device.alias', /\{hostName\} goes out as it is/]],
  ],
  [
    'each misspelt placeholder of each setting',
    {},
    { currentOwner: '{owner} {ID}', buildVersion: '{version}', tailscaleID: '{host_name}' },
    [
      ['device.currentOwner', /\{owner\} goes out/],
      ['device.currentOwner', /\{ID\} goes out/],
      ['device.tailscaleID', /\{host_name\} goes out/],
      ['device.buildVersion', /\{version\} goes out/],
    ],
  ],
  [
    'what the common name alone does not fill in',
    { commonName: '/fleet/{id}/{hostname}' },
    {},
    [['identity.commonName', /\{hostname\} goes out as it is: filled in are \{id\}$/]],
  ],
  [
    'a common name that every device would ask for',
    { commonName: '/fleet/agent' },
    {},
    [['identity.commonName', /"\/fleet\/agent", the same on every device of an image/]],
  ],
  [
    'no whole common name of a device whose id is configured',
    { commonName: '/f/d1/agent', deviceId: 'd1' },
    {},
    [],
  ],
])('a configuration is warned of %s', (_, identity, device, expected) => {
  const warnings = templateWarnings({
    identity: { deviceId: null, commonName, ...identity },
    device: { ...none, ...device },
  });
  expect(warnings.map(({ key }) => key)).toEqual(expected.map(([key]) => key));
  for (const [index, [, message]] of expected.entries()) expect(warnings[index]?.message).toMatch(message);
});
