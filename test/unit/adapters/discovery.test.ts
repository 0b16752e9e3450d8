import { readFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import { expect, onTestFinished, test } from 'vitest';
import { discover } from '../../../src/adapters/discovery.ts';

test('a sandbox that hides the network interfaces fails the attempt, and not the process', async () => {
  const real = os.networkInterfaces;
  os.networkInterfaces = () => {
    throw Object.assign(new Error('uv_interface_addresses returned Unknown system error 97'), {
      code: 'EAFNOSUPPORT',
    });
  };
  // Named imports see it, too.
  syncBuiltinESMExports();
  onTestFinished(() => {
    os.networkInterfaces = real;
    syncBuiltinESMExports();
  });
  await expect(discover(AbortSignal.timeout(5_000))).rejects.toMatchObject({
    code: 'PROVISIONING_UNREACHABLE',
  });
});

test('the sandbox of the unit lets discovery ask for the network interfaces', () => {
  const unit = readFileSync(new URL('../../../systemd/onboardd.service', import.meta.url), 'utf8');
  expect(unit).toMatch(/^RestrictAddressFamilies=.*\bAF_NETLINK\b/m);
});
