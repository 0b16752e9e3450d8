import { expect, test } from 'vitest';
import { postProvision } from '../../../src/adapters/provisioningApi.ts';
import { serverAt } from '../../support/provisioningServer.ts';

test('a token that cannot be read has a reason of its own', async () => {
  const server = { ...serverAt('http://127.0.0.1:1'), tokenFile: '/nowhere/token' };
  await expect(postProvision(server, '{}', AbortSignal.timeout(5_000))).rejects.toMatchObject({
    code: 'PROVISIONING_REJECTED',
    class: 'transient',
    reason: 'token-unusable',
  });
});
