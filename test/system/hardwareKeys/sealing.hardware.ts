/** A key file that systemd-creds seals with the key of the host: for root, on a system that has it. */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { at, fleetWith, launch, onboard, states } from '../../support/harness.ts';
import { runToEnd } from '../../support/program.ts';
import { file } from './device.ts';

const works =
  spawnSync('systemd-creds', ['encrypt', '--with-key=host', '-', '-'], { input: 'a' }).status === 0;

test.runIf(works)('a sealed key is no PEM on disk, and a restart opens it', async () => {
  const fleet = await fleetWith();
  const device = at(fleet, { identity: { keyType: 'ec-p256', seal: 'host' } });
  await onboard(device);
  expect(file(device, 'identity.key')).toMatch(/^[A-Za-z0-9+/=\s]{64,}$/);
  const again = launch(device);
  await again.until((line) => line.event === 'state.changed' && line.to === 'registered');
  expect(states(again)).toEqual(['registered']);
  const { stdout } = runToEnd(['check', '--json', '--config', device.configFile]);
  const found = Object.fromEntries(
    JSON.parse(stdout).checks.map(({ id, verdict }: { id: string; verdict: string }) => [id, verdict]),
  );
  expect(found).toMatchObject({ certificate: 'pass', 'nats-server': 'pass' });
  expect(fleet.provisioning.requests).toHaveLength(1);
});
