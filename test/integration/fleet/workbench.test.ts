import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import multicast, { type Options } from 'multicast-dns';
import { afterEach, expect, test } from 'vitest';
import { announce } from '../../../fleet/announce.ts';
import { startWorkbench, type Workbench, type WorkbenchOptions } from '../../../fleet/workbench.ts';
import { discover } from '../../../src/adapters/discovery.ts';
import { newDevice, runToEnd, start, temporaryFolder } from '../../support/program.ts';

const running = new Set<Workbench>();
afterEach(async () => {
  await Promise.all([...running].map((workbench) => workbench.stop()));
  running.clear();
});

async function workbenchIn(data: string, changes: Partial<WorkbenchOptions> = {}): Promise<Workbench> {
  const workbench = await startWorkbench({
    ...{ data, listen: '127.0.0.1', ports: { http: 0, https: 0, nats: 0 } },
    ...{ mdns: false, cluster: false, certificateMs: 3_600_000, onProblem: () => undefined },
    ...changes,
  });
  running.add(workbench);
  return workbench;
}

const portOf = (url: string) => Number(new URL(url).port);

function pinnedTo({ urls, fingerprint }: Workbench) {
  return newDevice({ provisioning: { url: urls.http, fleetCaFingerprint: fingerprint } });
}

/** Resolves with the first event of this name, past or coming. */
function seen({ ledger }: Workbench, name: string): Promise<unknown> {
  return new Promise((resolve) => {
    const look = () => ledger.historyOf().some(({ event }) => event === name) && resolve(name);
    if (!look()) ledger.onEvent(look);
  });
}

test('a workbench that starts again knows its devices: nothing is issued or registered twice', async () => {
  const data = join(temporaryFolder(), 'fleet');
  const first = await workbenchIn(data);
  const device = pinnedTo(first);
  expect(await start(device, ['--once']).ended).toBe(0);
  const [known] = first.ledger.devices.values();
  expect(known).toMatchObject({ state: 'registered', certificates: 1, keys: 1, registrations: 1 });
  expect(statSync(join(data, 'ca.pem')).mode & 0o777).toBe(0o600);
  await first.stop();

  const [http, https] = [first.provisioning.httpUrl, first.provisioning.httpsUrl].map(portOf);
  const ports = { http, https, nats: first.natsServers[0]?.port } as WorkbenchOptions['ports'];
  const second = await workbenchIn(data, { ports });
  expect(second.fingerprint).toBe(first.fingerprint);
  expect(second.token).toBe(first.token);
  expect([...second.ledger.devices.values()]).toEqual([{ ...known, isConnected: false }]);
  // The same device from its factory: same id, new key.
  runToEnd(['reset', '--keep-id', '--yes', '--config', device.configFile]);
  expect(await start(device, ['--once']).ended).toBe(0);
  const id = known?.id ?? '';
  expect(second.ledger.historyOf(id).map(({ event }) => event)).toContain('registration.rejected');
  expect(second.ledger.devices.get(id)).toMatchObject({ keys: 2, registrations: 1, state: 'registered' });
});

test('an address that is not this machine’s is named as the mistake', async () => {
  const data = join(temporaryFolder(), 'fleet');
  await expect(workbenchIn(data, { listen: '192.0.2.1' })).rejects.toThrow(/--listen: no address/);
});

test('two workbenches never share a folder', async () => {
  const data = join(temporaryFolder(), 'fleet');
  await workbenchIn(data);
  await expect(workbenchIn(data)).rejects.toThrow(/another workbench uses/);
});

test('a revoked device is cut off and gets no certificate, until it is let in again', async () => {
  const workbench = await workbenchIn(join(temporaryFolder(), 'fleet'));
  const device = pinnedTo(workbench);
  const program = start(device);
  await program.until(({ event }) => event === 'device.registered');
  const [id = ''] = workbench.ledger.devices.keys();
  await workbench.revoke(id);
  program.child.kill('SIGKILL');
  runToEnd(['reset', '--keep-id', '--yes', '--config', device.configFile]);
  const refused = start(device);
  expect(await refused.until(({ event }) => event === 'step.failed')).toMatchObject({
    code: 'PROVISIONING_REJECTED',
    reason: 'http-403',
  });
  refused.child.kill('SIGKILL');
  await workbench.restore(id);
  await workbench.forget(id);
  expect(await start(device, ['--once']).ended).toBe(0);
});

test('a device that is revoked while its certificate is issued is not let in at NATS', async () => {
  const data = join(temporaryFolder(), 'fleet');
  const workbench = await workbenchIn(data);
  const revoked = new Promise<string>((resolve, reject) => {
    workbench.ledger.onEvent((event) => {
      if (event.event === 'certificate.issued')
        workbench.revoke(event.id).then(() => resolve(event.id), reject);
    });
  });
  const program = start(pinnedTo(workbench));
  const id = await revoked;
  // It has its certificate: the server has decided.
  await program.until(({ to }) => to === 'registering');
  program.child.kill('SIGKILL');
  expect(readFileSync(join(data, 'nats/nats.conf'), 'utf8')).not.toContain(id);
});

test('a stalled NATS takes new devices no further than to their certificate, and they register once it recovers', async () => {
  const workbench = await workbenchIn(join(temporaryFolder(), 'fleet'));
  workbench.faults.set('stall-nats', true);
  const program = start(pinnedTo(workbench), ['--once']);
  await program.until(({ to }) => to === 'registering');
  expect([...workbench.ledger.devices.values()]).toMatchObject([{ state: 'certified', isConnected: false }]);
  workbench.faults.set('stall-nats', false);
  expect(await program.ended).toBe(0);
  await seen(workbench, 'nats.connected');
});

test('a registration whose acknowledgement was lost, and which is delivered again, counts once', async () => {
  const workbench = await workbenchIn(join(temporaryFolder(), 'fleet'));
  // The first result is more than NATS carries: the request is not acknowledged, and comes again.
  workbench.manager.behave = (_request, n) => (n === 1 ? { raw: 'x'.repeat(2_000_000) } : undefined);
  expect(await start(pinnedTo(workbench), ['--once']).ended).toBe(0);
  expect(workbench.manager.requests).toMatchObject([{ redelivered: false }, { redelivered: true }]);
  const accepted = workbench.ledger.historyOf().filter(({ event }) => event === 'registration.accepted');
  expect(accepted).toHaveLength(1);
  expect([...workbench.ledger.devices.values()]).toMatchObject([{ registrations: 1 }]);
});

test('a device finds the announced workbench by multicast DNS', async () => {
  const bound = async () => {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return socket;
  };
  const [there, here] = [await bound(), await bound()];
  const open = (socket: typeof there, port: number) =>
    multicast({ socket, port, ip: '127.0.0.1', multicast: false, bind: false } as Options);
  const end = announce(8080, ['192.0.2.7'], console.error, () => open(there, here.address().port));
  const found = await discover(AbortSignal.timeout(20_000), async () => open(here, there.address().port));
  expect(found).toEqual(['http://192.0.2.7:8080']);
  await end();
});
