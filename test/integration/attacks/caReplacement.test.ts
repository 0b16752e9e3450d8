import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Authority, createAuthority } from '../../../fleet/ca.ts';
import { type Fleet, startFleet } from '../../../fleet/fleet.ts';
import { startNats } from '../../../fleet/nats.ts';
import type { ProvisioningBehaviour } from '../../../fleet/provisioningBehaviour.ts';
import { startRelay } from '../../fleet/relay.ts';
import { atEnd } from '../../support/atEnd.ts';
import { startHostileNats } from '../../support/attackers/hostileNats.ts';
import { at as deviceAt, failure, fleetWith, launch, onboard, state } from '../../support/harness.ts';
import { type Device, type Line, temporaryFolder } from '../../support/program.ts';

/** The first certificate lives so long; what the later requests meet, the test says. */
async function fleetThen(
  lifeMs: number,
  later: (fleet: Fleet, isExpired: boolean) => ProvisioningBehaviour | undefined,
): Promise<Fleet> {
  const fleet = await fleetWith();
  let notAfter = new Date();
  fleet.provisioning.behave = (_, n) => {
    if (n > 1) return later(fleet, Date.now() > notAfter.getTime());
    notAfter = new Date(Date.now() + lifeMs);
    return { certificate: { notBefore: new Date(Date.now() - 1000), notAfter } };
  };
  return fleet;
}

const at = (fleet: Fleet, more: Record<string, unknown> = {}) =>
  deviceAt(fleet, { renewal: { at: 0.4 }, ...more });
const file = ({ stateDir }: Device, name: string) => readFileSync(join(stateDir, name), 'utf8');
const renewed = (line: Line) => line.event === 'certificate.renewed';
const failedIn = (step: string) => (line: Line) => line.event === 'step.failed' && line.step === step;

test('after its certificate has expired too, a device takes no other CA over plain HTTP', async () => {
  const stranger = await createAuthority({ commonName: 'Stranger' });
  const fleet = await fleetThen(6000, (_, isExpired) =>
    !isExpired
      ? { status: 503 }
      : { certificate: { otherAuthority: stranger }, answer: { caCertificate: stranger.pem } },
  );
  const device = at(fleet);
  const program = launch(device);
  await program.until((line) => line.event === 'device.registered');
  const failed = await program.until(
    (line) => failedIn('csr')(line) && line.code !== 'PROVISIONING_REJECTED',
  );
  expect(failed.code).toBe('CERTIFICATE_UNTRUSTED');
  expect(file(device, 'identity_ca.crt')).toBe(fleet.ca.pem);
  expect(state(device).provisioned.caCertificate).toBe(fleet.ca.pem);
});

test('after its certificate has expired, a device takes a new one of the same CA', async () => {
  const fleet = await fleetThen(6000, (_, isExpired) => (isExpired ? undefined : { status: 503 }));
  const device = at(fleet);
  const program = launch(device);
  await program.until((line) => line.event === 'state.changed' && line.from === 'registered');
  await program.until(
    (line) => line.event === 'state.changed' && line.to === 'registered' && line.from !== 'registering',
  );
  expect(Date.parse(new X509Certificate(file(device, 'identity.crt')).validTo)).toBeGreaterThan(Date.now());
  expect(fleet.manager.requests, 'and is not registered twice').toHaveLength(1);
});

test('the present certificate, sent again with another NATS address, renews nothing', async () => {
  let first = '';
  const fleet = await fleetThen(4000, (all) => ({
    body: JSON.stringify({
      certificate: first,
      caCertificate: all.ca.pem,
      fleetManagementNatsUrl: 'tls://127.0.0.1:1',
    }),
  }));
  const device = at(fleet);
  const program = launch(device);
  await program.until((line) => line.event === 'device.registered');
  first = file(device, 'identity.crt');
  const failed = await program.until(failedIn('renewing'));
  expect(failed).toMatchObject({ code: 'CERTIFICATE_EXPIRED', state: 'registered' });
  expect(state(device).provisioned.natsUrl).toBe(fleet.natsUrl);
});

test.each<[string, (evil: string, own: string) => string]>([
  ["that is not the fleet's", (evil) => evil],
  ["that names the fleet's beside another", (evil, own) => `${evil},${own}`],
  ["that names another behind the fleet's", (evil, own) => `${own},${evil}`],
])('a renewal over plain HTTP with an address %s renews the certificate and keeps the address', async (_, address) => {
  const stranger = await createAuthority({ commonName: 'Stranger' });
  const server = atEnd(await startNats({ authority: stranger, dir: temporaryFolder() }));
  const fleet = await fleetThen(60_000, (all) => ({
    answer: { fleetManagementNatsUrl: address(server.url, all.natsUrl) },
  }));
  const device = at(fleet, { renewal: { at: 0.02 } });
  const program = launch(device);
  const refused = await program.until((line) => line.event === 'address.refused');
  expect(refused).toMatchObject({ code: 'NATS_TLS', state: 'registered' });
  await program.until(renewed);
  expect(state(device).provisioned.natsUrl).toBe(fleet.natsUrl);
  expect(file(device, 'service_nats_url.txt')).toBe(fleet.natsUrl);
  expect(file(device, 'identity.crt')).not.toBe('');
});

/** Hears devices of one password only, and registers them. */
function serverWithPassword(authority: Authority, password: string) {
  let results = '';
  return startHostileNats(authority, (line, send) => {
    if (line.startsWith('CONNECT') && JSON.parse(line.slice(8)).pass !== password)
      send("-ERR 'Authorization Violation'\r\n");
    const [, subject, sid] = /^SUB (device_results\S+) (\d+)/.exec(line) ?? [];
    if (subject !== undefined) results = `MSG ${subject} ${sid}`;
    if (line.startsWith('HPUB device_actions.')) {
      const text = '{"status":"success","alias":"a"}';
      send(`${results} ${text.length}\r\n${text}\r\n`);
    }
  });
}

test("a renewal over plain HTTP with another password for the fleet's own server keeps the one that opens it", async () => {
  const fleet = await fleetThen(60_000, ({ provisioning }) => ({
    answer: { fleetManagementNatsUrl: provisioning.natsUrl.replace('right', 'wrong') },
  }));
  const server = atEnd(await serverWithPassword(fleet.ca, 'right'));
  const own = `tls://device:right@127.0.0.1:${server.port}`;
  fleet.provisioning.natsUrl = own;
  const device = at(fleet, { renewal: { at: 0.02 } });
  const program = launch(device);
  await program.until(renewed);
  expect(state(device).provisioned.natsUrl).toBe(own);
  const refused = await program.until((line) => line.event === 'address.refused');
  expect(refused).toMatchObject({ code: 'NATS_DENIED', state: 'registered' });
});

test('a renewal whose new address cannot be reached yet costs no certificate after the other', async () => {
  const fleet = await fleetThen(60_000, () => ({
    certificate: { notAfter: new Date(Date.now() + 3_600_000) },
    answer: { fleetManagementNatsUrl: 'tls://127.0.0.1:1' },
  }));
  const device = at(fleet, { renewal: { at: 0.02 } });
  const program = launch(device);
  await program.until((line) => line.event === 'address.refused');
  await program.until(renewed);
  expect(fleet.provisioning.requests).toHaveLength(2);
  expect(state(device).provisioned.natsUrl).toBe(fleet.natsUrl);
});

test.each<[string, string]>([
  ['denies everybody', "-ERR 'Authorization Violation'\r\n"],
  ['speaks something else', 'HELLO\r\n'],
])('one bad first answer with a NATS server behind it that %s locks no device out', async (_, says) => {
  const stranger = await createAuthority({ commonName: 'Stranger' });
  const server = atEnd(
    await startHostileNats(stranger, (line, send) => {
      if (line.startsWith('CONNECT')) send(says);
    }),
  );
  const fleet = await fleetWith();
  fleet.provisioning.behave = (_request, n) =>
    n === 1
      ? {
          certificate: { otherAuthority: stranger },
          answer: { caCertificate: stranger.pem, fleetManagementNatsUrl: `tls://127.0.0.1:${server.port}` },
        }
      : undefined;
  const program = launch(at(fleet));
  await program.until((line) => line.event === 'certificate.useless');
  await program.until((line) => line.event === 'device.registered');
  expect(fleet.provisioning.requests).toHaveLength(2);
});

test('a device of a closed test network without TLS takes the next CA once its certificate has expired', async () => {
  const next = await createAuthority({ commonName: 'Next' });
  const fleet = await fleetWith({ nats: { tls: false } });
  let refusals = 0;
  fleet.provisioning.behave = () => {
    // On a slow machine such a life may be over before the device is registered: then it gets another one.
    if (fleet.manager.requests.length === 0)
      return {
        certificate: { notBefore: new Date(Date.now() - 1000), notAfter: new Date(Date.now() + 2500) },
      };
    refusals += 1;
    return refusals < 7
      ? { status: 503 }
      : { certificate: { otherAuthority: next }, answer: { caCertificate: next.pem } };
  };
  const device = at(fleet, { nats: { tls: 'optional' } });
  const program = launch(device);
  await program.until((line) => line.event === 'state.changed' && line.from === 'registered');
  await program.until(
    (line) => line.event === 'state.changed' && line.from === 'provisioned' && line.to === 'registered',
  );
  expect(state(device).pinnedCa).toBeNull();
});

test('a renewal over plain HTTP with an address of the fleet changes the address', async () => {
  let moved = '';
  const fleet = await fleetThen(60_000, () => ({ answer: { fleetManagementNatsUrl: moved } }));
  const relay = atEnd(await startRelay({ to: fleet.nats }));
  moved = `tls://127.0.0.1:${relay.port}`;
  const device = at(fleet, { renewal: { at: 0.02 } });
  const program = launch(device);
  await program.until(renewed);
  await expect.poll(() => file(device, 'service_nats_url.txt')).toBe(moved);
  expect(relay.opened).toBe(1);
});

test.each<[string, (stranger: Authority) => ProvisioningBehaviour]>([
  [
    'of another CA',
    (stranger) => ({
      certificate: { otherAuthority: stranger },
      answer: { caCertificate: stranger.pem },
    }),
  ],
  ['of an address where nobody is', () => ({ answer: { fleetManagementNatsUrl: 'tls://127.0.0.1:1' } })],
])('one bad first answer, %s, locks no device out: it asks again, with the same id and key', async (_, bad) => {
  const stranger = await createAuthority({ commonName: 'Stranger' });
  const fleet = await fleetWith();
  fleet.provisioning.behave = (_request, n) => (n === 1 ? bad(stranger) : undefined);
  const device = at(fleet);
  const program = launch(device);
  const useless = await program.until((line) => line.event === 'certificate.useless');
  expect(useless.failures).toBe(10);
  await program.until((line) => line.event === 'device.registered');
  expect(fleet.provisioning.requests).toHaveLength(2);
  const [one, two] = fleet.provisioning.requests;
  expect(two?.publicKeySha256).toBe(one?.publicKeySha256);
  expect(two?.csrSubject).toBe(one?.csrSubject);
  expect(state(device).pinnedCa).toBe(fleet.ca.pem);
});

test('a device that left the provisioning network keeps its certificate, however long NATS is away', async () => {
  const fleet = await fleetWith();
  fleet.provisioning.behave = (_, n) => (n === 1 ? undefined : { status: 503 });
  await fleet.nats.kill();
  const device = at(fleet);
  const program = launch(device);
  await program.until((line) => failure('PROVISIONING_REJECTED')(line) && line.step === 'csr');
  await fleet.nats.restart();
  await fleet.startManager();
  await program.until((line) => line.event === 'device.registered');
  expect(fleet.provisioning.requests).toHaveLength(2);
});

const fingerprintOf = (pem: string) => new X509Certificate(pem).fingerprint256;

test("a pin of the fleet's CA refuses the first answer of anybody else, and takes the fleet's", async () => {
  const stranger = await createAuthority({ commonName: 'Stranger' });
  const fleet = await fleetWith();
  fleet.provisioning.behave = (_, n) =>
    n === 1
      ? { certificate: { otherAuthority: stranger }, answer: { caCertificate: stranger.pem } }
      : undefined;
  const device = at(fleet, {
    provisioning: { url: fleet.provisioningUrl, fleetCaFingerprint: fingerprintOf(fleet.ca.pem) },
  });
  const program = launch(device);
  const failed = await program.until(failure('CERTIFICATE_UNTRUSTED'));
  expect(String(failed.cause)).toContain(fingerprintOf(stranger.pem).replaceAll(':', '').toLowerCase());
  await program.until((line) => line.event === 'device.registered');
  expect(state(device).provisioned.caCertificate).toBe(fleet.ca.pem);
});

test('a pin of a file lets nobody else have the device, who runs a NATS server and a fleet manager, too', async () => {
  const stranger = await fleetWith();
  const fleetCaFile = join(stranger.dir, 'fleet-ca.pem');
  writeFileSync(fleetCaFile, (await createAuthority({})).pem);
  const device = at(stranger, { provisioning: { url: stranger.provisioningUrl, fleetCaFile } });
  const program = launch(device, ['--once']);
  expect(await program.ended).toBe(1);
  expect(program.lines.find(failure('CERTIFICATE_UNTRUSTED'))).toMatchObject({ step: 'csr' });
  expect(state(device)).toMatchObject({ provisioned: null, pinnedCa: null });
  expect(stranger.manager.requests).toEqual([]);
});

test('a device that a stranger took at its first boot is won back by a pin, with its own id and key', async () => {
  const stranger = atEnd(await startFleet());
  const fleet = await fleetWith();
  const device = at(stranger);
  await onboard(device);
  const { deviceId } = state(device);
  const key = file(device, 'identity.key');
  const config = JSON.parse(readFileSync(device.configFile, 'utf8'));
  config.provisioning = { url: fleet.provisioningUrl, fleetCaFingerprint: fingerprintOf(fleet.ca.pem) };
  writeFileSync(device.configFile, JSON.stringify(config));
  const program = launch(device);
  await program.until((line) => line.event === 'device.registered');
  expect(fleet.manager.accepted.get(deviceId)?.count).toBe(1);
  expect(state(device).pinnedCa).toBe(fleet.ca.pem);
  expect(file(device, 'identity.key')).toBe(key);
});

test('a wrong pin costs a registered device nothing but the wait for the right one', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  await onboard(device);
  const before = state(device).registration;
  const right = readFileSync(device.configFile, 'utf8');
  const config = JSON.parse(right);
  config.provisioning.fleetCaFingerprint = fingerprintOf((await createAuthority({})).pem);
  writeFileSync(device.configFile, JSON.stringify(config));
  const program = launch(device);
  await program.until(failure('CERTIFICATE_UNTRUSTED'));
  writeFileSync(device.configFile, right);
  program.child.kill('SIGHUP');
  await program.until((line) => line.event === 'state.changed' && line.to === 'registered');
  expect(state(device).registration).toEqual(before);
  expect(fleet.manager.requests).toHaveLength(1);
});
