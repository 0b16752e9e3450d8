import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createAuthority } from '../../../fleet/ca.ts';
import { at, failure, fleetWith, launch, onboard, state } from '../../support/harness.ts';
import { runToEnd } from '../../support/program.ts';

test('a CA certificate that is the intermediate alone is trust enough, for acceptance and for TLS', async () => {
  const fleet = await fleetWith({ authority: { intermediate: true } });
  const { certificate, chain } = await fleet.ca.issueServer({ hosts: ['any'] });
  const intermediate = chain.slice(certificate.length);
  expect(intermediate).toContain('BEGIN CERTIFICATE');
  fleet.provisioning.behave = () => ({ answer: { caCertificate: intermediate } });
  const device = at(fleet);
  await onboard(device);
  expect(state(device).provisioned.caCertificate).toBe(intermediate);
});

test.each([
  ['a slash', 'us/er:se/cret'],
  ['an at sign', 'us@er:se@cret'],
  ['both, and a question mark', 'u/@:se/@cret?'],
])('credentials with %s in a NATS address are shown nowhere', async (_, credentials) => {
  const fleet = await fleetWith({ manager: false });
  const address = `tls://${credentials}@127.0.0.1:${fleet.nats.port}`;
  fleet.provisioning.behave = () => ({ answer: { fleetManagementNatsUrl: address } });
  const device = at(fleet);
  const program = launch(device);
  await program.until((line) => line.event === 'state.changed' && line.to === 'registering');
  await program.until((line) => line.event === 'step.failed');
  const { stdout, stderr } = runToEnd(['status', '--json', '--config', device.configFile]);
  expect(JSON.parse(stdout).natsUrl).toBe(`127.0.0.1:${fleet.nats.port}`);
  const plain = runToEnd(['status', '--config', device.configFile]);
  const all = [stdout, stderr, plain.stdout, plain.stderr, program.stderr(), JSON.stringify(program.lines)];
  for (const text of all) expect(text).not.toMatch(/cret/);
  expect(state(device).provisioned.natsUrl, 'kept as it was answered').toBe(address);
});

test('NODE_TLS_REJECT_UNAUTHORIZED=0 makes no provisioning server trusted', async () => {
  const fleet = await fleetWith();
  const device = at(fleet, { provisioning: { url: fleet.httpsUrl } });
  const program = launch(device, [], { NODE_TLS_REJECT_UNAUTHORIZED: '0' });
  await program.until(failure('PROVISIONING_TLS'));
  expect(fleet.provisioning.requests).toEqual([]);
});

test('NODE_TLS_REJECT_UNAUTHORIZED=0 makes no NATS server trusted', async () => {
  const fleet = await fleetWith();
  const other = await createAuthority({ commonName: 'another CA' });
  await fleet.nats.restart({ serverCertificate: await other.issueServer({ hosts: ['127.0.0.1'] }) });
  const program = launch(at(fleet), [], { NODE_TLS_REJECT_UNAUTHORIZED: '0' });
  await program.until(failure('NATS_TLS'));
  expect(fleet.manager.requests).toEqual([]);
});

test('over the request API nothing is asked before the inbox is sure to bring the answer', async () => {
  const fleet = await fleetWith({
    api: 'request',
    rights: (id) => ({
      publish: { allow: [`device_actions.${id}.>`] },
      subscribe: { allow: [`_INBOX_${id}.>`] },
    }),
  });
  const device = at(fleet, { registration: { api: 'request' } });
  const program = await onboard(device);
  expect(program.lines.some(failure('NATS_DENIED')), 'the usual inbox was tried first').toBe(true);
  expect(fleet.manager.requests).toHaveLength(1);
  expect(fleet.manager.accepted.get(state(device).deviceId)?.count).toBe(1);
});

test('a state.json of a newer version is left alone, and so is its key', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  await onboard(device);
  const newer = JSON.stringify({ ...state(device), version: 2, provisioned: { anything: 'else' } });
  writeFileSync(join(device.stateDir, 'state.json'), newer);
  writeFileSync(join(device.stateDir, 'identity.key'), 'a key in a form of the newer version');
  const before = contents(device.stateDir);
  const program = launch(device, ['--once']);
  expect(await program.ended).toBe(1);
  expect(String(program.lines.find((line) => line.event === 'device.failed')?.message)).toMatch(
    /STATE_CORRUPT.*version 2/,
  );
  expect(contents(device.stateDir)).toEqual(before);
});

function contents(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]),
  );
}
