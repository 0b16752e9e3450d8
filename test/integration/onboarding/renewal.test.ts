import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createAuthority } from '../../../fleet/ca.ts';
import { launch } from '../../support/harness.ts';
import { type Line, runToEnd, temporaryFolder } from '../../support/program.ts';
import {
  at,
  failedWith,
  file,
  fleetWithFirstLife,
  leftBecause,
  registered,
  renewed,
  status,
} from '../../support/renewals.ts';

const renewalFailed = (line: { event: string; step?: unknown }) =>
  line.event === 'step.failed' && line.step === 'renewing';

const isAfter = (line: Line, other: Line) =>
  Date.parse(line.timestamp as string) >= Date.parse(other.timestamp as string);

test('a certificate is renewed in time, for the same key, and nothing is registered again', async () => {
  const fleet = await fleetWithFirstLife(6000);
  const device = at(fleet, { identity: undefined });
  const program = launch(device);
  await program.until((line) => line.event === 'device.registered');
  const key = file(device, 'identity.key');
  const first = new X509Certificate(file(device, 'identity.crt'));
  const line = await program.until(renewed);
  expect(Date.parse(line.timestamp as string)).toBeLessThan(Date.parse(first.validTo));
  await expect.poll(() => new X509Certificate(file(device, 'identity.crt')).validTo).not.toBe(first.validTo);
  const second = new X509Certificate(file(device, 'identity.crt'));
  expect(Date.parse(line.notAfter as string)).toBe(Date.parse(second.validTo));
  expect(line.serial).toBe(second.serialNumber);
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

test('a renewed certificate and its new key wait for NATS, outlive a kill, and no other is asked for', async () => {
  const fleet = await fleetWithFirstLife(40_000);
  const folder = temporaryFolder();
  const exports = { key: join(folder, 'key.pem'), certificate: join(folder, 'crt.pem') };
  const device = at(fleet, { identity: undefined, renewal: { at: 0.1, newKey: true }, exports });
  const program = launch(device);
  await program.until(registered);
  const first = ['identity.key', 'identity.crt'].map((name) => file(device, name));
  await fleet.nats.kill();
  await program.until(failedWith('renewing', 'NATS_UNREACHABLE'));
  // It is logged before it is saved.
  await expect.poll(() => status(device).lastError?.code).toBe('NATS_UNREACHABLE');
  program.child.kill('SIGKILL');
  await program.ended;
  expect(['identity.key', 'identity.crt'].map((name) => file(device, name))).toEqual(first);
  const next = file(device, 'identity.key.next');
  await fleet.nats.restart();
  const again = launch(device);
  await again.until(renewed);
  // One after the other
  await expect.poll(() => readFileSync(exports.key, 'utf8')).toBe(next);
  const isForNext = () =>
    new X509Certificate(readFileSync(exports.certificate)).checkPrivateKey(createPrivateKey(next));
  await expect.poll(isForNext).toBe(true);
  expect(file(device, 'identity.key')).toBe(next);
  expect(file(device, 'identity.key.previous')).toBe(first[0]);
  expect(fleet.provisioning.requests).toHaveLength(2);
  expect(fleet.provisioning.requests[0]?.publicKeySha256).not.toBe(
    fleet.provisioning.requests[1]?.publicKeySha256,
  );
  expect(fleet.manager.requests).toHaveLength(1);
});

test('a renewed certificate that could not be tried is taken when the old one expires', async () => {
  const fleet = await fleetWithFirstLife(7_000);
  const device = at(fleet, { renewal: { at: 0.2 } });
  const program = launch(device);
  await program.until(registered);
  const { notAfter } = status(device).certificate;
  await fleet.nats.kill();
  await program.until(failedWith('renewing', 'NATS_UNREACHABLE'));
  const line = await program.until(renewed);
  expect(Date.parse(line.timestamp as string)).toBeGreaterThanOrEqual(Date.parse(notAfter));
  expect(program.lines.filter(({ event }) => event === 'registration.left')).toEqual([]);
  expect(fleet.provisioning.requests).toHaveLength(2);
});

test.each([
  ['a Retry-After of two minutes', { status: 503, headers: { 'retry-after': '120' } }],
  ['a 403 that is not tried again for a quarter of an hour', { status: 403 }],
])('a certificate that expires is not outlived by %s', async (_, refusal) => {
  const fleet = await fleetWithFirstLife(6_000);
  const { behave } = fleet.provisioning;
  fleet.provisioning.behave = (request, n) => (n === 2 ? refusal : n === 1 ? behave(request, n) : undefined);
  const retry = { initialMs: 50, maxMs: 500, factor: 2, failedAfterMs: 900_000 };
  const device = at(fleet, { renewal: { at: 0.3 }, retry });
  const program = launch(device);
  // No other try comes before the expiry.
  expect(await program.until(renewalFailed)).toMatchObject({ level: 'error' });
  const { notAfter } = status(device).certificate;
  const left = await program.until(leftBecause('certificate-expired'));
  expect(Date.parse(left.timestamp as string) - Date.parse(notAfter)).toBeLessThan(2_000);
  // The server's word held for the certificate's life: the device asks again, and is itself.
  await program.until(
    (line) => line.event === 'certificate.issued' && line.state === 'csr' && isAfter(line, left),
  );
  await expect.poll(() => status(device).state).toBe('registered');
  expect(fleet.provisioning.requests).toHaveLength(3);
  expect(fleet.manager.requests).toHaveLength(1);
});

test('a renewal that fails shortly before the expiry is an error, in the log and for a person', async () => {
  // Urgent in the last third of the time for it: four seconds.
  const fleet = await fleetWithFirstLife(12_000);
  const { behave } = fleet.provisioning;
  fleet.provisioning.behave = (request, n) => (n === 1 ? behave(request, n) : { status: 503 });
  const device = at(fleet, { renewal: { at: 0.01 } });
  const program = launch(device);
  expect(await program.until(renewalFailed)).toMatchObject({ level: 'warn' });
  await program.until((line) => renewalFailed(line) && line.level === 'error');
  const { stdout } = runToEnd(['status', '--config', device.configFile]);
  expect(stdout).toMatch(/certificate expires in \S+ s and could not be renewed/);
});
