import { expect, test } from 'vitest';
import { type ProvisioningServer, postProvision } from '../../../src/adapters/provisioningApi.ts';

const serverAt = (url: string): ProvisioningServer => ({
  url,
  path: '/api/devices/provision',
  ca: null,
  clientCertFile: null,
  clientKeyFile: null,
  proxyFor: () => null,
  tokenFile: null,
  userAgent: 'test',
});

test('a token that cannot be read has a reason of its own', async () => {
  const server = { ...serverAt('http://127.0.0.1:1'), tokenFile: '/nowhere/token' };
  await expect(postProvision(server, '{}', AbortSignal.timeout(5_000))).rejects.toMatchObject({
    code: 'PROVISIONING_REJECTED',
    class: 'transient',
    reason: 'token-unusable',
  });
});
