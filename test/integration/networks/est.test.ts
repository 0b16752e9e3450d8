import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { createAuthority } from '../../../fleet/ca.ts';
import type { Fleet } from '../../../fleet/fleet.ts';
import { type EstServer, startEst } from '../../fleet/est.ts';
import { failure, fleetWith, launch, onboard, state } from '../../support/harness.ts';
import { type Device, newDevice, temporaryFolder } from '../../support/program.ts';

let est: EstServer | undefined;
afterEach(async () => {
  await est?.stop();
  est = undefined;
});

/** A fleet whose NATS server trusts the devices of an EST server, and shows a certificate of its CA. */
async function fleetOfEst(): Promise<{ fleet: Fleet; est: EstServer }> {
  const authority = await createAuthority();
  let letIn = async (_: string) => {};
  const server = await startEst((commonName) => letIn(commonName));
  est = server;
  const both = { ...authority, pem: authority.pem + server.pem };
  const fleet = await fleetWith({
    authority,
    nats: { clientAuthority: both, serverCertificate: { ...server.web, certificate: server.web.chain } },
  });
  letIn = (commonName) =>
    fleet.nats.authorise(/([^/]*)\/registration_agent$/.exec(commonName)?.[1] ?? '', commonName);
  return { fleet, est: server };
}

function deviceOf(
  { fleet, est }: { fleet: Fleet; est: EstServer },
  more: Record<string, unknown> = {},
): Device {
  return newDevice({
    provisioning: { url: est.url, protocol: 'est', caFile: est.caFile, ...(more.provisioning as object) },
    nats: { url: fleet.nats.url },
    ...(more.renewal ? { renewal: more.renewal } : {}),
  });
}

test('a device gets its certificate by EST and registers with it', async () => {
  const both = await fleetOfEst();
  const tokenFile = join(temporaryFolder(), 'token');
  writeFileSync(tokenFile, 'hunter2', { mode: 0o600 });
  const device = deviceOf(both, { provisioning: { tokenFile } });
  await onboard(device);
  expect(both.est.requests).toEqual([
    { operation: 'simpleenroll', shown: false, authorization: 'Bearer hunter2' },
    { operation: 'cacerts', shown: false, authorization: 'Bearer hunter2' },
  ]);
  expect(state(device).provisioned.caCertificate.replace(/\s/g, '')).toBe(both.est.pem.replace(/\s/g, ''));
});

test('a renewal is asked for with the certificate that lives', async () => {
  const both = await fleetOfEst();
  both.est.lifeSeconds = 20;
  const device = deviceOf(both, { renewal: { at: 0.01 } });
  const program = launch(device);
  await program.until(({ event }) => event === 'certificate.renewed');
  const operations = both.est.requests.filter(({ operation }) => operation !== 'cacerts');
  expect(operations.slice(0, 2)).toMatchObject([
    { operation: 'simpleenroll', shown: false },
    { operation: 'simplereenroll', shown: true },
  ]);
});

test.each([
  [
    'a request that waits for a person',
    { status: 202, headers: { 'retry-after': '1' } },
    'PROVISIONING_REJECTED',
    'http-202',
  ],
  ['a refusal', { status: 401 }, 'PROVISIONING_REJECTED', 'http-401'],
  ['no PKCS#7', { status: 200, body: 'hello' }, 'PROVISIONING_ANSWER_INVALID', null],
])('%s by EST has its code', async (_, instead, code, reason) => {
  const both = await fleetOfEst();
  both.est.instead = instead;
  const program = launch(deviceOf(both));
  expect(await program.until(failure(code))).toMatchObject({ reason });
  both.est.instead = undefined;
  await program.until(({ event }) => event === 'device.registered');
});
