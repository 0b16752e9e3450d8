import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createAuthority } from '../../../fleet/ca.ts';
import { fleetWith, launch } from '../../support/harness.ts';
import type { Device } from '../../support/program.ts';
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

/** The device has not opened NATS for a week: it does so within a second or two. */
function forgetVerification({ stateDir }: Device): void {
  const path = join(stateDir, 'state.json');
  const verifiedAt = new Date(Date.now() - 7 * 86_400_000).toISOString();
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), verifiedAt }));
}

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

test('a certificate that is due is requested and tried although NATS is away, and is in use once it is back', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  await launch(device, ['--once']).ended;
  await fleet.nats.kill();
  forgetVerification(device);
  const path = join(device.stateDir, 'state.json');
  const { provisioned, ...rest } = JSON.parse(readFileSync(path, 'utf8'));
  // Behind the first look at NATS: from then on the next look is always due.
  const renewAt = new Date(Date.now() + 4_000).toISOString();
  writeFileSync(path, JSON.stringify({ ...rest, provisioned: { ...provisioned, renewAt } }));
  const program = launch(device);
  await program.until(failedWith('verifying', 'NATS_UNREACHABLE'));
  await program.until(failedWith('renewing', 'NATS_UNREACHABLE'));
  await fleet.nats.restart();
  await program.until(renewed);
  expect(fleet.provisioning.requests).toHaveLength(2);
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

test('a fleet that has replaced its CA all at once gets its devices back, if its provisioning server proves itself', async () => {
  const next = await createAuthority({ commonName: 'Next root' });
  const fleet = await fleetWith();
  // Longer than the shortest pause between two looks, or the next verification is always due before the renewal.
  const retry = { initialMs: 1_500, maxMs: 1_500 };
  const device = at(fleet, { provisioning: { url: fleet.httpsUrl, caFile: fleet.caFile }, retry });
  await launch(device, ['--once']).ended;
  const before = status(device);
  const serverCertificate = await next.issueServer({ hosts: ['localhost', '127.0.0.1'] });
  await fleet.nats.restart({ serverCertificate, clientAuthority: next });
  // The next CA gives a month where the former gave a year.
  const life = { notBefore: new Date(), notAfter: new Date(Date.now() + 30 * 86_400_000) };
  const certificate = { otherAuthority: next, ...life };
  fleet.provisioning.behave = () => ({ certificate, answer: { caCertificate: next.pem } });
  forgetVerification(device);
  const program = launch(device);
  await program.until(failedWith('verifying', 'NATS_TLS'));
  await program.until(renewed);
  await expect.poll(() => file(device, 'identity_ca.crt')).toBe(next.pem);
  expect(status(device)).toMatchObject({ state: 'registered', alias: before.alias });
  expect(program.lines.filter(({ event }) => event === 'registration.left')).toEqual([]);
  expect(fleet.provisioning.requests).toHaveLength(2);
});
