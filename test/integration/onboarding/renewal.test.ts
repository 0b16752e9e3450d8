import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createAuthority } from '../../fleet/ca.ts';
import type { Fleet, FleetOptions } from '../../fleet/fleet.ts';
import { at as deviceAt, fleetWith, launch } from '../../support/harness.ts';
import { type Device, runToEnd } from '../../support/program.ts';

/** A fleet whose first certificate lives so many milliseconds, the later ones a year. */
async function fleetWithFirstLife(ms: number, options: FleetOptions = {}): Promise<Fleet> {
  const made = await fleetWith(options);
  made.provisioning.behave = (_, n) =>
    n === 1
      ? { certificate: { notBefore: new Date(Date.now() - 1000), notAfter: new Date(Date.now() + ms) } }
      : undefined;
  return made;
}

const at = (fleet: Fleet, more: Record<string, unknown> = {}) =>
  deviceAt(fleet, { renewal: { at: 0.5 }, ...more });
const file = ({ stateDir }: Device, name: string) => readFileSync(join(stateDir, name), 'utf8');
const status = ({ configFile }: Device) =>
  JSON.parse(runToEnd(['status', '--json', '--config', configFile]).stdout);
const renewed = (line: { event: string }) => line.event === 'certificate.renewed';
const renewalFailed = (line: { event: string; step?: unknown }) =>
  line.event === 'step.failed' && line.step === 'renewing';

test('a certificate is renewed in time, for the same key, and nothing is registered again', async () => {
  const fleet = await fleetWithFirstLife(6000);
  const device = at(fleet);
  const program = launch(device);
  await program.until((line) => line.event === 'device.registered');
  const key = file(device, 'identity.key');
  const first = new X509Certificate(file(device, 'identity.crt'));
  const line = await program.until(renewed);
  expect(Date.parse(line.timestamp as string)).toBeLessThan(Date.parse(first.validTo));
  await expect.poll(() => new X509Certificate(file(device, 'identity.crt')).validTo).not.toBe(first.validTo);
  const second = new X509Certificate(file(device, 'identity.crt'));
  expect(Date.parse(line.notAfter as string)).toBe(Date.parse(second.validTo));
  expect(second.publicKey.equals(first.publicKey)).toBe(true);
  expect(file(device, 'identity.key')).toBe(key);
  expect(status(device)).toMatchObject({
    state: 'registered',
    lastError: null,
    certificate: { renewAt: line.renewAt },
  });
  expect(fleet.provisioning.requests).toHaveLength(2);
  expect(fleet.manager.requests).toHaveLength(1);
  expect(line).toMatchObject({ state: 'registered', level: 'info' });
});

test('a renewal over plain HTTP that brings another CA is refused, and the device stays registered', async () => {
  const stranger = await createAuthority({ commonName: 'Stranger' });
  const fleet = await fleetWithFirstLife(4000);
  const { behave } = fleet.provisioning;
  fleet.provisioning.behave = (request, n) =>
    n === 2
      ? { certificate: { otherAuthority: stranger }, answer: { caCertificate: stranger.pem } }
      : behave(request, n);
  const device = at(fleet);
  const program = launch(device);
  expect(await program.until(renewalFailed)).toMatchObject({
    code: 'CERTIFICATE_UNTRUSTED',
    state: 'registered',
  });
  await program.until(renewed);
  expect(file(device, 'identity_ca.crt')).toBe(fleet.ca.pem);
});

test('a renewal over HTTPS may bring another CA', async () => {
  const next = await createAuthority({ commonName: 'Next root' });
  const fleet = await fleetWithFirstLife(4000);
  const { behave } = fleet.provisioning;
  fleet.provisioning.behave = (request, n) =>
    n === 1
      ? behave(request, n)
      : { certificate: { otherAuthority: next }, answer: { caCertificate: next.pem } };
  const device = at(fleet, { provisioning: { url: fleet.httpsUrl, caFile: fleet.caFile } });
  const program = launch(device);
  await program.until(renewed);
  await expect.poll(() => file(device, 'identity_ca.crt')).toBe(next.pem);
});

test('a renewal that is refused leaves the device registered, and a new certificate is asked for again', async () => {
  const fleet = await fleetWithFirstLife(4000);
  const { behave } = fleet.provisioning;
  fleet.provisioning.behave = (request, n) => (n === 2 ? { status: 403 } : behave(request, n));
  const program = launch(at(fleet));
  expect(await program.until(renewalFailed)).toMatchObject({
    code: 'PROVISIONING_REJECTED',
    class: 'permanent',
    state: 'registered',
  });
  await program.until(renewed);
  expect(program.lines.filter(({ event }) => event === 'device.failed')).toEqual([]);
});

test('a certificate that expires while nobody answers the registration is replaced', async () => {
  const fleet = await fleetWithFirstLife(1500, { manager: false });
  const program = launch(at(fleet, { registration: { timeoutMs: 500 } }));
  await program.until((line) => line.event === 'state.changed' && line.from === 'registering');
  await fleet.startManager();
  await program.until((line) => line.event === 'device.registered');
  expect(fleet.provisioning.requests).toHaveLength(2);
  expect([...fleet.manager.accepted.values()].map(({ count }) => count)).toEqual([1]);
});
