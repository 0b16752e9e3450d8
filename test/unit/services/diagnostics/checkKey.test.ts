import { expect, test } from 'vitest';
import { checkKey } from '../../../../src/services/diagnostics/checkKey.ts';
import { newState } from '../../../../src/services/state/deviceState.ts';

const certified = {
  ...newState('a'),
  provisioned: { certificate: 'c', caCertificate: 'c', natsUrl: 'n', renewAt: '2030-01-01', opened: true },
};

test.each([
  ['in the token', certified, 'token', 'pass', null],
  ['in a file of an earlier configuration', certified, 'file', 'pass', null],
  ['nowhere, on a new device', null, null, 'pass', null],
  ['nowhere, on a device without a certificate', newState('a'), null, 'pass', null],
  ['nowhere, on a device with a certificate', certified, null, 'fail', 'token-key-missing'],
] as const)('a key %s', (_, state, place, verdict, reason) => {
  expect(checkKey(state, place)).toMatchObject({ verdict, reason });
});
