import { rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { createAuthority } from './fleet/ca.ts';
import { type Fleet, type FleetOptions, startFleet } from './fleet/fleet.ts';
import type { ManagerBehaviour } from './fleet/manager.ts';
import type { ProvisioningBehaviour } from './fleet/provisioningBehaviour.ts';
import { startRelay } from './fleet/relay.ts';
import { newDevice, start } from './program.ts';

/**
 * The fault matrix: each row is a fresh fleet, one fault, and the real program. What is checked: the code that it logs,
 * and that it ends registered, accepted once, when the fault is gone; what is measured: how long each took.
 *
 * `npm run test:faults [-- --only TEXT]`; prints the table of docs/reliability.md.
 */
interface Row {
  readonly fault: string;
  readonly codes: readonly string[];
  readonly fleet?: FleetOptions;
  readonly device?: Record<string, unknown>;
  /** Makes the fault before the device starts. @returns what ends it, and changes to the device's configuration */
  readonly make: (fleet: Fleet) => Promise<Made> | Made;
}

interface Made {
  readonly end?: () => Promise<unknown> | unknown;
  readonly device?: Record<string, unknown>;
}

const { values } = parseArgs({ options: { only: { type: 'string', default: '' } } });

const provisioning = (fault: string, codes: string[], behaviour: ProvisioningBehaviour): Row => ({
  fault: `provisioning: ${fault}`,
  codes,
  make: (fleet) => {
    fleet.provisioning.behave = () => behaviour;
    return { end: () => (fleet.provisioning.behave = () => undefined) };
  },
});
const manager = (
  fault: string,
  codes: string[],
  behaviour: ManagerBehaviour,
  fleet: FleetOptions = { api: 'plain' },
): Row => ({
  fault: `fleet manager: ${fault}`,
  codes,
  fleet,
  make: (running) => {
    running.manager.behave = () => behaviour;
    return { end: () => (running.manager.behave = () => undefined) };
  },
});
const server = (
  fault: string,
  codes: string[],
  spoil: (fleet: Fleet) => Promise<unknown>,
  mend: (fleet: Fleet) => unknown,
): Row => ({
  fault: `NATS: ${fault}`,
  codes,
  make: async (fleet) => {
    await spoil(fleet);
    return { end: () => mend(fleet) };
  },
});
const link = (fault: string, codes: string[], to: 'provisioning' | 'nats', how: 'cut' | 'freeze'): Row => ({
  fault: `${to === 'nats' ? 'NATS' : 'provisioning'}: ${fault}`,
  codes,
  make: async (fleet) => {
    const url = new URL(to === 'nats' ? fleet.nats.url : fleet.provisioningUrl);
    const relay = await startRelay({ to: { host: url.hostname, port: Number(url.port) } });
    await relay[how]();
    const address = `127.0.0.1:${relay.port}`;
    const device =
      to === 'nats'
        ? { nats: { url: address } }
        : { provisioning: { url: `http://${address}`, timeoutMs: 1500 } };
    return { device, end: () => relay.mend() };
  },
});

const hour = 3_600_000;
const ago = (ms: number) => new Date(Date.now() - ms);
const rejected = (status: number) => provisioning(`HTTP ${status}`, ['PROVISIONING_REJECTED'], { status });
const mendServer = (fleet: Fleet) =>
  fleet.nats.restart({ serverCertificate: undefined, clientAuthority: undefined, tls: true });

const rows: Row[] = [
  link('connection refused', ['PROVISIONING_UNREACHABLE'], 'provisioning', 'cut'),
  link('half-open link', ['PROVISIONING_TIMEOUT'], 'provisioning', 'freeze'),
  provisioning('no answer', ['PROVISIONING_TIMEOUT'], 'hang'),
  provisioning('one byte every 100 ms', ['PROVISIONING_TIMEOUT'], 'drip'),
  provisioning('reset', ['PROVISIONING_UNREACHABLE'], 'reset'),
  provisioning('half-closed', ['PROVISIONING_UNREACHABLE'], 'halfClose'),
  provisioning('half an answer', ['PROVISIONING_UNREACHABLE'], 'truncate'),
  provisioning('huge body', ['PROVISIONING_ANSWER_INVALID'], { body: 'x'.repeat(2_000_000) }),
  provisioning('redirect', ['PROVISIONING_ANSWER_INVALID'], { redirect: 'http://127.0.0.1:9/' }),
  provisioning('captive portal', ['PROVISIONING_ANSWER_INVALID'], { body: '<html></html>' }),
  provisioning('truncated JSON', ['PROVISIONING_ANSWER_INVALID'], { body: '{"certificate":"' }),
  provisioning('JSON of a wrong type', ['PROVISIONING_ANSWER_INVALID'], { body: '[1]' }),
  provisioning('certificate of a wrong type', ['PROVISIONING_ANSWER_INVALID'], {
    answer: { certificate: 5 },
  }),
  provisioning('certificate is rubbish', ['PROVISIONING_ANSWER_INVALID'], {
    answer: { certificate: 'rubbish' },
  }),
  provisioning('no CA', ['PROVISIONING_ANSWER_INVALID'], { answer: { caCertificate: undefined } }),
  provisioning('NATS address is rubbish', ['PROVISIONING_ANSWER_INVALID'], {
    answer: { fleetManagementNatsUrl: 'http://x' },
  }),
  ...[400, 401, 403, 404, 409, 418, 422, 408, 425, 429, 500, 502, 503, 504].map(rejected),
  provisioning('another key’s certificate', ['CERTIFICATE_KEY_MISMATCH'], {
    certificate: { otherKey: true },
  }),
  provisioning('expired certificate', ['CERTIFICATE_EXPIRED'], {
    certificate: { notBefore: ago(2 * hour), notAfter: ago(hour) },
  }),
  provisioning('certificate not yet valid', ['CERTIFICATE_NOT_YET_VALID'], {
    certificate: { notBefore: ago(-hour), notAfter: ago(-2 * hour) },
  }),
  provisioning('another device’s name', ['CERTIFICATE_WRONG_DEVICE'], {
    certificate: { commonName: 'someone' },
  }),
  {
    fault: 'provisioning: certificate of another CA',
    codes: ['CERTIFICATE_UNTRUSTED'],
    make: async (fleet) => {
      const otherAuthority = await createAuthority({ commonName: 'another CA' });
      fleet.provisioning.behave = () => ({ certificate: { otherAuthority } });
      return { end: () => (fleet.provisioning.behave = () => undefined) };
    },
  },
  {
    fault: 'provisioning: HTTPS of another CA',
    codes: ['PROVISIONING_TLS'],
    make: (fleet) => ({ device: { provisioning: { url: fleet.httpsUrl } } }),
  },
  {
    fault: 'provisioning: name that does not resolve',
    codes: ['PROVISIONING_UNREACHABLE', 'PROVISIONING_TIMEOUT'],
    make: () => ({ device: { provisioning: { url: 'http://no-such-host.invalid', timeoutMs: 3000 } } }),
  },
  server(
    'down',
    ['NATS_UNREACHABLE'],
    (fleet) => fleet.nats.kill('SIGKILL'),
    (fleet) => fleet.nats.restart(),
  ),
  link('half-open link', ['NATS_UNREACHABLE'], 'nats', 'freeze'),
  link('connection refused', ['NATS_UNREACHABLE'], 'nats', 'cut'),
  { fault: 'NATS: no TLS', codes: ['NATS_NOT_SECURE'], fleet: { nats: { tls: false } }, make: () => ({}) },
  server(
    'certificate of another CA',
    ['NATS_TLS'],
    async (fleet) => {
      const other = await createAuthority({ commonName: 'another CA' });
      await fleet.nats.restart({ serverCertificate: await other.issueServer({ hosts: ['127.0.0.1'] }) });
    },
    mendServer,
  ),
  server(
    'expired server certificate',
    ['NATS_TLS'],
    async (fleet) => {
      const dates = { notBefore: ago(2 * hour), notAfter: ago(hour) };
      await fleet.nats.restart({
        serverCertificate: await fleet.ca.issueServer({ hosts: ['127.0.0.1'], ...dates }),
      });
    },
    mendServer,
  ),
  server(
    'certificate of another host',
    ['NATS_TLS'],
    async (fleet) =>
      fleet.nats.restart({ serverCertificate: await fleet.ca.issueServer({ hosts: ['example.org'] }) }),
    mendServer,
  ),
  server(
    'our certificate refused',
    ['NATS_TLS'],
    async (fleet) =>
      fleet.nats.restart({ clientAuthority: await createAuthority({ commonName: 'another CA' }) }),
    mendServer,
  ),
  server(
    'device not let in',
    ['NATS_DENIED'],
    (fleet) => fleet.nats.setRights(() => 'none'),
    (fleet) => fleet.nats.setRights(() => 'all'),
  ),
  server(
    'publish denied',
    ['NATS_DENIED'],
    (fleet) =>
      fleet.nats.setRights((id) => ({
        publish: { deny: ['device_actions.>'] },
        subscribe: { allow: [`device_results.${id}.>`] },
      })),
    (fleet) => fleet.nats.setRights(() => 'all'),
  ),
  server(
    'result denied on every way',
    ['NATS_DENIED'],
    (fleet) =>
      fleet.nats.setRights((id) => ({
        publish: { allow: [`device_actions.${id}.>`] },
        subscribe: { allow: ['_INBOX.>'] },
      })),
    (fleet) => fleet.nats.setRights(() => 'all'),
  ),
  {
    fault: 'NATS: SIGKILL between question and result',
    codes: ['NATS_UNREACHABLE'],
    make: (fleet) => {
      fleet.manager.behave = () => 'hold';
      fleet.manager.journal.atLeast(1).then(() => fleet.nats.kill('SIGKILL'));
      return {
        end: async () => {
          fleet.manager.behave = () => undefined;
          await fleet.nats.restart();
          while (
            !(await fleet.manager.connection.flush().then(
              () => true,
              () => false,
            ))
          );
          await fleet.manager.release();
        },
      };
    },
  },
  manager('question lost', ['REGISTRATION_TIMEOUT'], 'ignore'),
  manager('result lost', ['REGISTRATION_TIMEOUT'], 'lose'),
  manager('result malformed', ['REGISTRATION_ANSWER_INVALID'], { raw: '{"status":' }),
  manager('result is rubbish', ['REGISTRATION_ANSWER_INVALID'], { raw: '{}' }),
  manager('result for another device', ['REGISTRATION_TIMEOUT'], { headers: { ID: 'somebody-else' } }),
  manager('result of an hour ago', ['CLOCK_WRONG'], {
    headers: { timestamp: ago(hour).toISOString() },
  }),
  manager('refused', ['REGISTRATION_REJECTED'], { reject: 'quota exceeded' }),
  {
    fault: 'fleet manager: absent',
    codes: ['REGISTRATION_TIMEOUT'],
    fleet: { manager: false },
    make: (fleet) => ({ end: () => fleet.startManager({ api: 'plain' }) }),
  },
];

let failed = 0;
let passed = 0;
console.log('| fault | code | noticed after | registered after the fault |\n| --- | --- | --- | --- |');
for (const row of rows.filter(({ fault }) => fault.includes(values.only))) {
  try {
    console.log(await live(row));
    passed++;
  } catch (error) {
    console.log(`| ${row.fault} | FAILED: ${String(error).slice(0, 400)} | | |`);
    failed++;
  }
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);

async function live(row: Row): Promise<string> {
  const fleet = await startFleet(row.fleet);
  const made = await row.make(fleet);
  const device = newDevice({
    provisioning: { url: fleet.provisioningUrl, timeoutMs: 1500 },
    registration: { timeoutMs: 1500 },
    identity: { keyType: 'ec-p256' },
    ...row.device,
    ...made.device,
  });
  const program = start(device);
  try {
    const begun = performance.now();
    const line = await within(
      40_000,
      program.until(({ event, code }) => event === 'step.failed' && code !== undefined),
    );
    const noticed = performance.now() - begun;
    if (!row.codes.includes(String(line.code))) throw new Error(`${line.code}: ${line.cause}`);
    let after = 'the fault stays';
    if (made.end) {
      await made.end();
      const ended = performance.now();
      const { deviceId } = await within(
        40_000,
        program.until(({ event }) => event === 'device.registered'),
      );
      after = `${((performance.now() - ended) / 1000).toFixed(1)} s`;
      const count = fleet.manager.accepted.get(String(deviceId))?.count;
      if (count !== 1) throw new Error(`accepted ${count} times`);
    }
    return `| ${row.fault} | ${line.code}, ${line.class} | ${(noticed / 1000).toFixed(1)} s | ${after} |`;
  } finally {
    program.child.kill('SIGKILL');
    await program.ended;
    await fleet.stop();
    rmSync(dirname(device.stateDir), { recursive: true, force: true });
  }
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${ms / 1000} s`)), ms);
  });
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
