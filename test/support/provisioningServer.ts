import type { ProvisioningServer } from '../../src/adapters/provisioningApi.ts';

/** A provisioning server as the adapter takes it, with nothing configured but its URL. */
export const serverAt = (url: string): ProvisioningServer => ({
  url,
  path: '/api/devices/provision',
  ca: null,
  clientCertFile: null,
  clientKeyFile: null,
  proxyFor: () => null,
  tokenFile: null,
  userAgent: 'test',
});
