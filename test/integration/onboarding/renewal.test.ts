import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createAuthority } from '../../../fleet/ca.ts';
import type { Fleet, FleetOptions } from '../../../fleet/fleet.ts';
import { at as deviceAt, fleetWith, launch } from '../../support/harness.ts';
import { type Device, runToEnd, temporaryFolder } from '../../support/program.ts';

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

const failedWith =
  (step: string, code: string) => (line: { event: string; step?: unknown; code?: unknown }) =>
    line.event === 'step.failed' && line.step === step && line.code === code;
const leftBecause = (reason: string) => (line: { event: string; reason?: unknown }) =>
  line.event === 'registration.left' && line.reason === reason;
const registered = (line: { event: string }) => line.event === 'device.registered';
/** The device has not opened NATS for a week: it does so within a second or two. */
function forgetVerification({ stateDir }: Device): void {
  const path = join(stateDir, 'state.json');
  const verifiedAt = new Date(Date.now() - 7 * 86_400_000).toISOString();
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), verifiedAt }));
}

test('a renewed certificate and its new key wait for NATS, outlive a kill, and no other is asked for', async () => {
  const fleet = await fleetWithFirstLife(40_000);
  const folder = temporaryFolder();
  const exports = { key: join(folder, 'key.pem'), certificate: join(folder, 'crt.pem') };
  const device = at(fleet, { renewal: { at: 0.1, newKey: true }, exports });
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
  await expect.poll(() => readFileSync(exports.key, 'utf8')).toBe(next);
  expect(file(device, 'identity.key')).toBe(next);
  expect(file(device, 'identity.key.previous')).toBe(first[0]);
  const certificate = new X509Certificate(readFileSync(exports.certificate));
  expect(certificate.checkPrivateKey(createPrivateKey(next))).toBe(true);
  expect(fleet.provisioning.requests).toHaveLength(2);
  expect(fleet.provisioning.requests[0]?.publicKeySha256).not.toBe(
    fleet.provisioning.requests[1]?.publicKeySha256,
  );
  expect(fleet.manager.requests).toHaveLength(1);
});

test('a renewed certificate that could not be tried is taken when the old one expires', async () => {
  const fleet = await fleetWithFirstLife(8_000);
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
  fleet.provisioning.behave = (request, n) => (n === 1 ? behave(request, n) : refusal);
  const retry = { initialMs: 50, maxMs: 500, factor: 2, failedAfterMs: 900_000 };
  const device = at(fleet, { renewal: { at: 0.3 }, retry });
  const program = launch(device);
  await program.until(renewalFailed);
  const { notAfter } = status(device).certificate;
  const left = await program.until(leftBecause('certificate-expired'));
  expect(Date.parse(left.timestamp as string) - Date.parse(notAfter)).toBeLessThan(2_000);
  await program.until((line) => line.event === 'state.changed' && line.to === 'csr');
});

test('a renewal that fails shortly before the expiry is an error, in the log and for a person', async () => {
  const fleet = await fleetWithFirstLife(9_000);
  const { behave } = fleet.provisioning;
  fleet.provisioning.behave = (request, n) => (n === 1 ? behave(request, n) : { status: 503 });
  const device = at(fleet, { renewal: { at: 0.3 } });
  const program = launch(device);
  expect(await program.until(renewalFailed)).toMatchObject({ level: 'warn' });
  await program.until((line) => renewalFailed(line) && line.level === 'error');
  const { stdout } = runToEnd(['status', '--config', device.configFile]);
  expect(stdout).toMatch(/certificate expires in \S+ s and could not be renewed/);
});

test('a device that NATS refuses for good gets another certificate for its id and key, and is itself again', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  const program = launch(device, ['--once']);
  await program.ended;
  const before = status(device);
  const key = file(device, 'identity.key');
  const result = file(device, 'registration.json');
  await fleet.nats.revoke(before.deviceId);
  forgetVerification(device);
  const again = launch(device);
  await again.until(leftBecause('certificate-refused'));
  await again.until((line) => line.event === 'state.changed' && line.to === 'csr');
  await again.until((line) => line.event === 'state.changed' && line.from === 'registering');
  expect(again.lines.filter(failedWith('verifying', 'NATS_DENIED')).length).toBeGreaterThanOrEqual(5);
  await expect
    .poll(() => status(device))
    .toMatchObject({
      state: 'registered',
      deviceId: before.deviceId,
      alias: before.alias,
    });
  expect(file(device, 'identity.key')).toBe(key);
  expect(file(device, 'registration.json')).toBe(result);
  expect(fleet.provisioning.requests).toHaveLength(2);
  expect([...fleet.manager.accepted.values()].map(({ count }) => count)).toEqual([1]);
});

test('a TLS alert about the certificate is a refusal, too', async () => {
  const stranger = await createAuthority({ commonName: 'Stranger' });
  const fleet = await fleetWith();
  const device = at(fleet);
  await launch(device, ['--once']).ended;
  await fleet.nats.restart({ clientAuthority: stranger });
  forgetVerification(device);
  const program = launch(device);
  await program.until(leftBecause('certificate-refused'));
  expect(program.lines.filter(failedWith('verifying', 'NATS_TLS')).length).toBeGreaterThanOrEqual(5);
  // It keeps its certificate, and goes on with it once the fleet has changed its mind.
  await fleet.nats.restart({ clientAuthority: fleet.ca });
  await expect.poll(() => status(device).state, { timeout: 20_000 }).toBe('registered');
});

test('a NATS server that is away is shown and never ends a registration', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  await launch(device, ['--once']).ended;
  await fleet.nats.kill();
  forgetVerification(device);
  const program = launch(device);
  for (const attempt of [1, 6])
    await program.until(
      (line) => failedWith('verifying', 'NATS_UNREACHABLE')(line) && line.attempt === attempt,
    );
  expect(status(device)).toMatchObject({ state: 'registered', lastError: { code: 'NATS_UNREACHABLE' } });
  await fleet.nats.restart();
  await expect.poll(() => status(device).lastError, { timeout: 10_000 }).toBeNull();
  expect(program.lines.filter(({ event }) => event === 'registration.left')).toEqual([]);
  expect(fleet.provisioning.requests).toHaveLength(1);
});

test('a renewed certificate that NATS refuses for good makes room for the one before, and its key', async () => {
  const fleet = await fleetWithFirstLife(300_000);
  const { behave } = fleet.provisioning;
  // A CA that rewrites subjects: NATS knows the device by another name from then on.
  fleet.provisioning.behave = (request, n) =>
    n === 2
      ? { certificate: { commonName: request.id ?? '' } }
      : n === 1
        ? behave(request, n)
        : { status: 503 };
  const device = at(fleet, { renewal: { at: 0.01, newKey: true } });
  const program = launch(device);
  await program.until(registered);
  const before = ['identity.key', 'identity.crt'].map((name) => file(device, name));
  await program.until(renewed);
  await expect.poll(() => file(device, 'identity.crt')).not.toBe(before[1]);
  program.child.kill('SIGTERM');
  await program.ended;
  expect(file(device, 'identity.key')).not.toBe(before[0]);
  const [first] = fleet.provisioning.requests;
  await fleet.nats.authorise(first?.id ?? '', first?.csrSubject ?? '');
  forgetVerification(device);
  const again = launch(device);
  await again.until((line) => line.event === 'certificate.rolled-back');
  const files = () => ['identity.key', 'identity.crt'].map((name) => file(device, name));
  await expect.poll(files).toEqual(before);
  await expect
    .poll(() => Date.parse(JSON.parse(file(device, 'state.json')).verifiedAt))
    .toBeGreaterThan(Date.now() - 60_000);
  expect(again.lines.filter(({ event }) => event === 'registration.left')).toEqual([]);
});
