import { createPrivateKey } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startRelay } from '../../fleet/relay.ts';
import { at, fleetWith, onboard, state, states } from '../../support/harness.ts';

test('a new device passes all states, is accepted once, and leaves its files private', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'c2VjcmV0', configuration: 'services: {}' }) });
  const device = at(fleet, { identity: undefined });
  const program = await onboard(device);
  expect(states(program)).toEqual(['keygen', 'csr', 'provisioned', 'registering', 'registered']);
  const { deviceId, registration } = state(device);
  expect(deviceId).toMatch(/^[0-9a-f]{32}$/);
  expect(fleet.manager.accepted.get(deviceId)?.count).toBe(1);
  expect(JSON.parse(registration.result).token).toBe('c2VjcmV0');
  const modes = Object.fromEntries(
    readdirSync(device.stateDir).map((name) => [
      name,
      (statSync(join(device.stateDir, name)).mode & 0o777).toString(8),
    ]),
  );
  expect(modes).toEqual({
    'device_id.txt': '644',
    'identity.crt': '644',
    'identity.key': '600',
    'identity_ca.crt': '644',
    'registration.json': '600',
    'service_nats_url.txt': '644',
    'state.json': '600',
    'status.json': '644',
  });
  expect(statSync(device.stateDir).mode & 0o777).toBe(0o700);
  // What a configuration without `identity.keyType` stands for.
  const key = createPrivateKey(readFileSync(join(device.stateDir, 'identity.key')));
  expect(key.asymmetricKeyDetails?.modulusLength).toBe(2048);
  expect(JSON.stringify(program.lines)).not.toMatch(/c2VjcmV0|PRIVATE KEY/);
});

test('a registered device that starts again asks nobody', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  await onboard(device);
  const before = [fleet.provisioning.requests.length, fleet.manager.requests.length];
  const program = await onboard(device);
  expect(states(program)).toEqual(['registered']);
  expect([fleet.provisioning.requests.length, fleet.manager.requests.length]).toEqual(before);
});

test('a fleet without JetStream registers a device over plain subscriptions', async () => {
  await onboard(at(await fleetWith({ nats: { jetstream: false } })));
});

test('the discontinued API registers a device and keeps what it answers', async () => {
  const fleet = await fleetWith({
    api: 'request',
    fields: () => ({ token: 'aGVsbG8K', configuration: 'a: 1' }),
  });
  const device = at(fleet, { registration: { api: 'request' } });
  await onboard(device);
  expect(JSON.parse(state(device).registration.result)).toMatchObject({
    token: 'aGVsbG8K',
    configuration: 'a: 1',
  });
});

test('a device with no right to JetStream registers over its subscription', async () => {
  const rights = (id: string) => ({
    publish: { allow: [`device_actions.${id}.>`] },
    subscribe: { allow: [`device_results.${id}.>`, '_INBOX.>'] },
  });
  await onboard(at(await fleetWith({ rights })));
});

test('a device with no right to any inbox registers over its subscription', async () => {
  const rights = (id: string) => ({
    publish: { allow: [`device_actions.${id}.>`] },
    subscribe: { allow: [`device_results.${id}.>`] },
  });
  await onboard(at(await fleetWith({ rights })));
});

test('a closed test network may do without TLS', async () => {
  await onboard(at(await fleetWith({ nats: { tls: false } }), { nats: { tls: 'optional' } }));
});

test('on a link with 600 ms of round trip a device registers, and nothing waits for the far side that need not', async () => {
  const fleet = await fleetWith();
  const relay = await startRelay({ to: { host: '127.0.0.1', port: fleet.nats.port }, delayMs: 300 });
  try {
    const program = await onboard(at(fleet, { nats: { url: `tls://127.0.0.1:${relay.port}` } }));
    const left = program.lines.find((line) => line.event === 'state.changed' && line.from === 'registering');
    // TCP and INFO, TLS, CONNECT and PING, the question and its result: five round trips, and half of one to spare.
    expect(left?.durationMs).toBeLessThan(5.5 * 600);
    expect(left?.durationMs).toBeGreaterThan(3 * 600);
  } finally {
    await relay.stop();
  }
});
