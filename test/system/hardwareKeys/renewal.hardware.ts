/** Renewal and rotation of a key in a token. */
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { launch, onboard } from '../../support/harness.ts';
import type { Line } from '../../support/program.ts';
import { certificateOf, expectNoKeyOnDisk, file, fleetAndDevice } from './device.ts';
import { newToken } from './softToken.ts';

const registered = (line: Line) => line.event === 'device.registered';
const renewed = (line: Line) => line.event === 'certificate.renewed';

test('a certificate is renewed for the same key', async () => {
  const token = newToken();
  const { fleet, device } = await fleetAndDevice(token, {
    firstLifeMs: 8000,
    config: { renewal: { at: 0.3 } },
  });
  const program = launch(device, [], token.env);
  await program.until(registered);
  const first = certificateOf(device);
  await program.until(renewed);
  await expect.poll(() => certificateOf(device).validTo).not.toBe(first.validTo);
  expect(certificateOf(device).publicKey.equals(first.publicKey)).toBe(true);
  expect(token.privateKeys()).toEqual(['onboardd']);
  expect(fleet.manager.requests).toHaveLength(1);
  expectNoKeyOnDisk(device);
});

test('with renewal.newKey a new key is made in the token, and the old one goes once it is not needed', async () => {
  const token = newToken();
  const { fleet, device } = await fleetAndDevice(token, {
    firstLifeMs: 8000,
    config: { renewal: { at: 0.3, newKey: true } },
  });
  const program = launch(device, [], token.env);
  await program.until(registered);
  const first = certificateOf(device);
  await program.until(renewed);
  await expect.poll(() => certificateOf(device).validTo).not.toBe(first.validTo);
  expect(certificateOf(device).publicKey.equals(first.publicKey)).toBe(false);
  expect(token.privateKeys()).toEqual(['onboardd', 'onboardd.previous']);
  program.child.kill('SIGKILL');
  await program.ended;
  // The new key is found again, and opens NATS.
  await onboard(device, token.env);
  expect(fleet.manager.requests).toHaveLength(1);
  expectNoKeyOnDisk(device);
});

test('a device with its key in a file moves into the token with its next key', async () => {
  const token = newToken();
  const { fleet, device } = await fleetAndDevice(token, {
    firstLifeMs: 20_000,
    config: { identity: { keyType: 'ec-p256' } },
  });
  await onboard(device);
  expect(existsSync(join(device.stateDir, 'identity.key'))).toBe(true);
  const first = certificateOf(device);
  const config = JSON.parse(readFileSync(device.configFile, 'utf8'));
  const moved = { ...config, identity: { keyType: token.uri() }, renewal: { at: 0.01, newKey: true } };
  writeFileSync(device.configFile, JSON.stringify(moved));
  const state = JSON.parse(file(device, 'state.json'));
  state.provisioned.renewAt = new Date().toISOString();
  writeFileSync(join(device.stateDir, 'state.json'), JSON.stringify(state));
  const program = launch(device, [], token.env);
  await program.until(renewed);
  await expect.poll(() => token.privateKeys()).toEqual(['onboardd']);
  expect(existsSync(join(device.stateDir, 'identity.key'))).toBe(false);
  expect(new X509Certificate(file(device, 'identity.crt')).publicKey.equals(first.publicKey)).toBe(false);
  expect(fleet.manager.requests).toHaveLength(1);
});
