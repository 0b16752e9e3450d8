/** A device with its key in a token, against a real fleet. */
import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { launch, onboard, state, states } from '../../support/harness.ts';
import { runToEnd } from '../../support/program.ts';
import { certificateOf, expectNoKeyOnDisk, file, fleetAndDevice, status } from './device.ts';
import { newToken } from './softToken.ts';

const shapes = {
  'ec-p256': ['ec', 'prime256v1'],
  'ec-p384': ['ec', 'secp384r1'],
  'rsa-2048': ['rsa', 2048],
} as const;

test.each([
  'ec-p256',
  'ec-p384',
  'rsa-2048',
] as const)('a device onboards with a key of the type %s that is made in its token', async (type) => {
  const token = newToken();
  const { fleet, device } = await fleetAndDevice(token, { query: `&x-key-type=${type}` });
  const program = await onboard(device, token.env);
  expect(states(program)).toEqual(['keygen', 'csr', 'provisioned', 'registering', 'registered']);
  expect(token.privateKeys()).toEqual(['onboardd']);
  const { asymmetricKeyType, asymmetricKeyDetails } = certificateOf(device).publicKey;
  const size = asymmetricKeyDetails?.namedCurve ?? asymmetricKeyDetails?.modulusLength;
  expect([asymmetricKeyType, size]).toEqual(shapes[type]);
  expect(fleet.manager.requests).toHaveLength(1);
  expectNoKeyOnDisk(device);
});

test('the token gives the key to nobody', async () => {
  const token = newToken();
  const { device } = await fleetAndDevice(token);
  await onboard(device, token.env);
  const listed = token.tool('--list-objects', '--type', 'privkey');
  expect(listed).toMatch(/Access:\s+sensitive, always sensitive, never extractable, local/);
  expect(token.readPrivateKey('onboardd')).toBe('CKR_ATTRIBUTE_SENSITIVE');
});

test('a restart finds the key again, and asks nobody for anything', async () => {
  const token = newToken();
  const { fleet, device } = await fleetAndDevice(token);
  await onboard(device, token.env);
  const before = file(device, 'identity.crt');
  const again = launch(device, [], token.env);
  await again.until((line) => line.event === 'state.changed' && line.to === 'registered');
  expect(states(again)).toEqual(['registered']);
  expect(file(device, 'identity.crt')).toBe(before);
  expect(token.privateKeys()).toEqual(['onboardd']);
  expect(fleet.provisioning.requests).toHaveLength(1);
  expect(fleet.manager.requests).toHaveLength(1);
});

test('check looks into the token and opens NATS with its key', async () => {
  const token = newToken();
  const { device } = await fleetAndDevice(token);
  const look = () => {
    const { stdout } = runToEnd(['check', '--json', '--config', device.configFile], token.env);
    return JSON.parse(stdout).checks as { id: string; verdict: string; detail: string }[];
  };
  expect(look().find(({ id }) => id === 'key')).toMatchObject({
    verdict: 'pass',
    detail: 'none yet; the token is ready to make it',
  });
  expect(token.privateKeys()).toEqual([]);
  await onboard(device, token.env);
  const found = Object.fromEntries(look().map(({ id, verdict }) => [id, verdict]));
  expect(found).toMatchObject({
    key: 'pass',
    certificate: 'pass',
    'nats-server': 'pass',
    registration: 'pass',
  });
});

test('reset destroys the key in the token, and the next onboarding makes another', async () => {
  const token = newToken();
  const { fleet, device } = await fleetAndDevice(token);
  await onboard(device, token.env);
  const { deviceId } = state(device);
  const first = certificateOf(device).publicKey;
  const reset = runToEnd(['reset', '--yes', '--config', device.configFile], token.env);
  expect(reset.stdout).toContain('will destroy identity.key in the token');
  expect(reset.stdout).toContain('destroyed identity.key in the token');
  expect(reset.status).toBe(0);
  expect(token.privateKeys()).toEqual([]);
  expect(token.tool('--list-objects')).not.toContain('onboardd');
  await onboard(device, token.env);
  expect(certificateOf(device).publicKey.equals(first)).toBe(false);
  expect(state(device).deviceId).not.toBe(deviceId);
  expect(fleet.provisioning.requests).toHaveLength(2);
});

test('reset --keep-id destroys the key and keeps the id', async () => {
  const token = newToken();
  const { device } = await fleetAndDevice(token);
  await onboard(device, token.env);
  const { deviceId } = state(device);
  const first = certificateOf(device).publicKey;
  const reset = runToEnd(['reset', '--keep-id', '--yes', '--config', device.configFile], token.env);
  expect(reset.status, reset.stderr).toBe(0);
  expect(token.privateKeys()).toEqual([]);
  await onboard(device, token.env);
  expect(state(device).deviceId).toBe(deviceId);
  expect(certificateOf(device).publicKey.equals(first)).toBe(false);
  expect(token.privateKeys()).toEqual(['onboardd']);
});

test('a key that outlived the state directory goes with a reset, too', async () => {
  const token = newToken();
  const { device } = await fleetAndDevice(token);
  token.tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'onboardd', '--id', '01');
  const unanswered = runToEnd(['reset', '--config', device.configFile], token.env);
  expect(unanswered.stdout).toContain('will destroy identity.key in the token');
  expect(unanswered.status).toBe(64);
  expect(existsSync(device.stateDir)).toBe(false);
  expect(token.privateKeys()).toEqual(['onboardd']);
  expect(runToEnd(['reset', '--yes', '--config', device.configFile], token.env).status).toBe(0);
  expect(token.privateKeys()).toEqual([]);
});

test('the CSR and the registration carry a certificate for the same key', async () => {
  const token = newToken();
  const { fleet, device } = await fleetAndDevice(token);
  await onboard(device, token.env);
  const [request] = fleet.manager.requests;
  const sent = new X509Certificate(`${request?.body?.certificate}`);
  expect(sent.publicKey.equals(certificateOf(device).publicKey)).toBe(true);
  expect(status(device, token.env)).toMatchObject({ state: 'registered', lastError: null });
});
