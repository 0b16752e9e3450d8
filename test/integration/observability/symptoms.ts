import { once } from 'node:events';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer as createHttp, type RequestListener } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { createAuthority } from '../../../fleet/ca.ts';
import type { Fleet, FleetOptions } from '../../../fleet/fleet.ts';
import type { ProvisioningBehaviour } from '../../../fleet/provisioningBehaviour.ts';
import { at, fleetWith, launch, onboard } from '../../support/harness.ts';
import { closedPort, registered } from '../../support/observabilityHarness.ts';
import { type Device, newDevice } from '../../support/program.ts';

/** How each entry of docs/troubleshooting.md comes about: a device that shows it, and whether it has no network. */
export type Symptom = () => Promise<Device & { readonly offline?: true }>;

const servers: Server[] = [];
const hour = 3_600_000;
const ago = (ms: number) => new Date(Date.now() - ms);
const isFailing = ({ event }: { event: string }) => event === 'step.failed';
const patient = { initialMs: 300_000, maxMs: 300_000, factor: 1, failedAfterMs: 0 };

/** Ends the servers that symptoms started. */
export function stopServers(): void {
  for (const server of servers.splice(0)) server.close();
}

async function listening<S extends Server>(server: S): Promise<string> {
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

// Long enough that a busy machine gets to the words for the server's silence before the machine's own time limit.
const knowing = (url: string) => newDevice({ provisioning: { url, timeoutMs: 2000 }, retry: patient });
const web = async (answer: RequestListener) => {
  const device = knowing(`http://${await listening(createHttp({ keepAliveTimeout: 1 }, answer))}`);
  await launch(device).until(isFailing);
  return device;
};
const secureWeb = async (hosts: string[], dates = {}) => {
  const authority = await createAuthority({ commonName: 'Web CA' });
  const { chain, key } = await authority.issueServer({ hosts, ...dates });
  const url = `https://${await listening(createHttps({ cert: chain, key }, (_, response) => response.end()))}`;
  const device = newDevice({ provisioning: { url, timeoutMs: 2000 } });
  const caFile = join(dirname(device.configFile), 'ca.crt');
  writeFileSync(caFile, authority.pem);
  const config = JSON.parse(readFileSync(device.configFile, 'utf8'));
  writeFileSync(
    device.configFile,
    JSON.stringify({ ...config, provisioning: { ...config.provisioning, caFile } }),
  );
  return device;
};
/** A daemon that has failed once against a fleet that misbehaves. */
const failing = async (spoil: (fleet: Fleet) => unknown, options: FleetOptions = {}, config = {}) => {
  const fleet = await fleetWith(options);
  await spoil(fleet);
  const device = at(fleet, { retry: patient, registration: { timeoutMs: 500 }, ...config });
  await launch(device).until(isFailing);
  return device;
};
const provisioned = (behaviour: ProvisioningBehaviour) =>
  failing((fleet) => {
    fleet.provisioning.behave = () => behaviour;
  });
/** A registered device whose daemon is off, and whose fleet then changes. */
const afterwards = async (change: (fleet: Fleet, device: Device) => unknown) => {
  const fleet = await fleetWith();
  const device = at(fleet);
  await onboard(device);
  await change(fleet, device);
  return device;
};
const rewrite = (
  { stateDir }: Device,
  change: (state: Record<string, unknown>) => Record<string, unknown>,
) => {
  const file = join(stateDir, 'state.json');
  writeFileSync(file, JSON.stringify(change(JSON.parse(readFileSync(file, 'utf8')))));
};

export const symptoms: Readonly<Record<string, Symptom>> = {
  'The device does nothing at all': async () => knowing('http://127.0.0.1:1'),
  'The service ends at once with status 78': async () => newDevice({}),
  'The service ends at once with status 75': async () => {
    const device = at(await fleetWith());
    await launch(device).until(registered);
    return device;
  },
  'The state directory cannot be written': async () => {
    const device = knowing('http://127.0.0.1:1');
    symlinkSync('/nowhere/mounted', device.stateDir);
    const config = JSON.parse(readFileSync(device.configFile, 'utf8'));
    writeFileSync(device.configFile, JSON.stringify({ ...config, stateDir: join(device.stateDir, 'below') }));
    return device;
  },
  'Something else is in the place of the state directory': async () => {
    const device = knowing('http://127.0.0.1:1');
    mkdirSync(device.stateDir);
    writeFileSync(join(device.stateDir, 'thesis.txt'), 'not ours');
    return device;
  },
  'The state was written by a newer version': async () => {
    const device = knowing('http://127.0.0.1:1');
    mkdirSync(device.stateDir, { mode: 0o700 });
    writeFileSync(join(device.stateDir, 'state.json'), '{"version":99}');
    return device;
  },
  'The image was cloned with its identity': () =>
    afterwards((_, device) =>
      rewrite(device, (state) => ({ ...state, machine: { hardware: 'another', installation: 'another' } })),
    ),
  'The clock is wrong': () =>
    web((_, response) => response.writeHead(404, { date: ago(-25 * hour).toUTCString() }).end()),
  'Its name does not resolve': async () => knowing('http://no-such-host.invalid'),
  'There is no route to it': async () => ({ ...knowing('http://192.0.2.1'), offline: true }),
  'It refuses the connection': async () => knowing(`http://127.0.0.1:${await closedPort()}`),
  'It does not answer': async () => {
    const device = knowing(
      `http://${await listening(createServer((socket) => socket.on('error', () => undefined)))}`,
    );
    await launch(device).until(isFailing);
    return device;
  },
  'Its certificate is not trusted': async () => knowing((await fleetWith()).httpsUrl),
  'Its certificate has expired': () =>
    secureWeb(['127.0.0.1'], { notBefore: ago(2 * hour), notAfter: ago(hour) }),
  'Its certificate is for another host': () => secureWeb(['example.org']),
  'It asks for a token': () => failing(() => undefined, { token: 'letmein' }),
  'It is overloaded': () => provisioned({ status: 503 }),
  'A captive portal answers': () =>
    web((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in</html>')),
  'It redirects': () =>
    web((_, response) =>
      response.writeHead(301, { location: 'https://elsewhere.example/secret?path' }).end(),
    ),
  "It answers with another device's certificate": () => provisioned({ certificate: { otherKey: true } }),
  'It issues certificates that have expired': () =>
    provisioned({ certificate: { notBefore: ago(2 * hour), notAfter: ago(hour) } }),
  'It issues certificates of a CA that it does not name': async () =>
    provisioned({ certificate: { otherAuthority: await createAuthority({ commonName: 'another CA' }) } }),
  'The NATS server is down': () => afterwards((fleet) => fleet.nats.kill('SIGKILL')),
  'Something else answers at the NATS address': async () => {
    const nats = await listening(createHttp());
    const other = await listening(createServer((socket) => socket.end('SSH-2.0-other\r\n')));
    return newDevice({ provisioning: { url: `http://${nats}`, timeoutMs: 500 }, nats: { url: other } });
  },
  'The NATS server has a certificate of another CA': () =>
    afterwards(async (fleet) => {
      const other = await createAuthority({ commonName: 'another CA' });
      await fleet.nats.restart({ serverCertificate: await other.issueServer({ hosts: ['127.0.0.1'] }) });
    }),
  "The NATS server refuses the device's certificate": () =>
    afterwards(async (fleet) =>
      fleet.nats.restart({ clientAuthority: await createAuthority({ commonName: 'another CA' }) }),
    ),
  'The NATS server has no TLS': () => afterwards((fleet) => fleet.nats.restart({ tls: false })),
  'The NATS server does not know the device': () => afterwards((fleet) => fleet.nats.setRights(() => 'none')),
  'The device may not hear its result': () =>
    afterwards((fleet) => fleet.nats.setRights(() => ({ subscribe: { allow: ['elsewhere'] } }))),
  'The fleet manager does not answer': () => failing(() => undefined, { manager: false }),
  'The fleet manager refuses the device': () =>
    failing((fleet) => {
      fleet.manager.behave = () => ({ reject: 'quota exceeded' });
    }),
  'Another device has this id': async () => {
    const fleet = await fleetWith();
    const identity = { deviceId: 'laptop-1', keyType: 'ec-p256' };
    await onboard(at(fleet, { identity }));
    const second = at(fleet, { identity, retry: patient });
    await launch(second).until(isFailing);
    return second;
  },
  'The certificate has expired while the device was off': async () => {
    const fleet = await fleetWith();
    const device = at(fleet);
    const [notBefore, notAfter] = [ago(hour), ago(-3000)];
    fleet.provisioning.behave = () => ({ certificate: { notBefore, notAfter } });
    await onboard(device);
    return device;
  },
};
