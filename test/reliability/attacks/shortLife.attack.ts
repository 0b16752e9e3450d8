import { expect, test } from 'vitest';
import { at, fleetWith, launch } from '../../support/harness.ts';

const watchedMs = 40_000;

test('certificates that live for a second are asked for ever more rarely', { timeout: 90_000 }, async () => {
  const fleet = await fleetWith();
  fleet.provisioning.behave = () => ({
    certificate: { notBefore: new Date(Date.now() - 1000), notAfter: new Date(Date.now() + 1000) },
  });
  const device = at(fleet, {
    retry: { initialMs: 1000, maxMs: 300_000, factor: 2 },
  });
  launch(device);
  await fleet.provisioning.journal.atLeast(2);
  // It is a rate that is measured: some 7 are expected, and 40 where nothing holds the device back.
  await new Promise((resolve) => setTimeout(resolve, watchedMs));
  expect(fleet.provisioning.requests.length).toBeLessThan(20);
});
