import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmdirSync, writeFileSync } from 'node:fs';
import { createServer as createHttp, type RequestListener } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createAuthority } from '../../../fleet/ca.ts';
import { type Fleet, type FleetOptions, startFleet } from '../../../fleet/fleet.ts';
import type { ProvisioningBehaviour } from '../../../fleet/provisioningBehaviour.ts';
import type { ErrorCode } from '../../../src/errors/catalogue.ts';
import type { Reason } from '../../../src/errors/reasons.ts';
import { type Device, newDevice, programFile, start, temporaryFolder } from '../../support/program.ts';

/** One set-up that is broken in one way, with what both commands have to name. */
export interface Row {
  readonly name: string;
  readonly code: ErrorCode;
  readonly reason: Reason | null;
  /** Makes the device, and starts its daemon unless that is what is broken. */
  readonly make: () => Promise<Device>;
  readonly needsRoot?: true;
  /** What the line shows besides */
  readonly shows?: RegExp;
}

const hour = 3_600_000;
const ago = (ms: number) => new Date(Date.now() - ms);
const nobody = 65534;
const servers: Server[] = [];
const fleets: Fleet[] = [];
const mounts: string[] = [];
const children: ChildProcess[] = [];
const common = {
  retry: { initialMs: 300_000, maxMs: 300_000, factor: 1, failedAfterMs: 0 },
};

/** Ends what the last row started. */
export async function cleanUp(): Promise<void> {
  for (const server of servers.splice(0)) server.close();
  for (const fleet of fleets.splice(0)) await fleet.stop();
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const folder of mounts.splice(0)) {
    execFileSync('umount', [folder]);
    rmdirSync(folder);
  }
}

async function listening(server: Server): Promise<string> {
  servers.push(server);
  server.on('connection', (socket) => socket.on('error', () => undefined));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function closed(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return `127.0.0.1:${port}`;
}

function run(config: Record<string, unknown>, prepare: (device: Device) => void = () => {}): Device {
  const device = newDevice({ ...common, ...config });
  prepare(device);
  void start(device).ended.catch(() => undefined);
  return device;
}

/** A device that exports its id to a file, with a fleet that registers it. */
async function exporting(path: string, uid = process.geteuid?.() ?? 0): Promise<Device> {
  const fleet = await startFleet({});
  fleets.push(fleet);
  const provisioning = { url: fleet.provisioningUrl };
  const device = newDevice({ ...common, provisioning, exports: { deviceId: path } });
  chownSync(dirname(device.configFile), uid, -1);
  const program = [programFile, 'run', '--config', device.configFile];
  children.push(spawn(process.execPath, program, { uid, gid: uid, cwd: '/', stdio: 'ignore' }));
  return device;
}

/** A folder that cannot be written, not even by root. */
function readOnlyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'read-only-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'ro,size=64k', 'tmpfs', folder]);
  mounts.push(folder);
  return folder;
}

const at = (url: string, more: Record<string, unknown> = {}) =>
  run({ provisioning: { url, timeoutMs: 1000, ...more } });
const web = async (answer: RequestListener) =>
  at(`http://${await listening(createHttp({ keepAliveTimeout: 1 }, answer))}`);
const raw = async (text: string) =>
  at(`http://${await listening(createServer((socket) => socket.end(text)))}`);
const tls = async (hosts: string[], more: object = {}) => {
  const authority = await createAuthority({ commonName: 'Web CA' });
  const { chain, key } = await authority.issueServer({ hosts, ...more });
  const address = await listening(createHttps({ cert: chain, key }, (_, response) => response.end()));
  const caFile = join(dirname(newDevice({}).configFile), 'ca.crt');
  writeFileSync(caFile, authority.pem);
  return at(`https://${address}`, { caFile, timeoutMs: 3000 });
};
const withFleet = async (
  options: FleetOptions,
  spoil: (fleet: Fleet) => unknown,
  config: (fleet: Fleet) => Record<string, unknown> = () => ({}),
) => {
  const fleet = await startFleet(options);
  fleets.push(fleet);
  await spoil(fleet);
  const more = config(fleet);
  const provisioning = { url: fleet.provisioningUrl, ...(more.provisioning as object) };
  return run({ registration: { timeoutMs: 1000 }, ...more, provisioning });
};
const answers = (behaviour: ProvisioningBehaviour) =>
  withFleet({}, (fleet) => {
    fleet.provisioning.behave = () => behaviour;
  });
const rejects = (text: string) =>
  withFleet({}, (fleet) => {
    fleet.manager.behave = () => ({ reject: text });
  });
const managed = (raw: string) =>
  withFleet({}, (fleet) => {
    fleet.manager.behave = () => ({ raw });
  });
const otherAuthority = () => createAuthority({ commonName: 'another CA' });
/** A configuration that no daemon runs with. */
const wrong = (config: Record<string, unknown>) => async () =>
  run({ provisioning: { url: 'http://127.0.0.1:1' }, ...config });
const prepared = (prepare: (device: Device) => void) => async () =>
  run({ provisioning: { url: `http://${await closed()}` } }, prepare);
const stateOf = (device: Device, text: string) => {
  mkdirSync(device.stateDir, { mode: 0o700 });
  writeFileSync(join(device.stateDir, 'state.json'), text, { mode: 0o600 });
};

const httpReasons: readonly (readonly [number, Reason])[] = [
  ...([400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 425, 429] as const).map(
    (status) => [status, `http-${status}`] as const,
  ),
  ...([500, 502, 503, 504, 511] as const).map((status) => [status, `http-${status}`] as const),
  [418, 'http-4xx'],
  [507, 'http-5xx'],
];

const rejected = 'PROVISIONING_REJECTED';
const unreachable = 'PROVISIONING_UNREACHABLE';
const untls = 'PROVISIONING_TLS';
const invalid = 'PROVISIONING_ANSWER_INVALID';

type Short = readonly [string, ErrorCode, Reason | null, () => Promise<Device>, shows?: RegExp];

/** Longer than what is shown, and with what would steer a terminal. */
const longWords = `\x1b[31mnot ${'today '.repeat(200)}`;
const cutWords = (head: string) => new RegExp(`${head}[^\\n\\x1b]{250,330}…`);

const rows: readonly Short[] = [
  ...httpReasons.map(
    ([status, reason]): Short => [`HTTP ${status}`, rejected, reason, () => answers({ status })],
  ),
  ['nobody listens', unreachable, 'refused', async () => at(`http://${await closed()}`)],
  [
    'a proxy that refuses the connection',
    unreachable,
    'proxy-unreachable',
    async () => at('http://127.0.0.1:1', { proxy: `http://user:hunter2@${await closed()}` }),
  ],
  [
    'an error in an answer of HTTP 200',
    ...([invalid, null] as const),
    () => answers({ body: '{"error":"swarm_id is mandatory"}' }),
    /swarm_id is mandatory/,
  ],
  ['a name that does not exist', unreachable, 'dns', async () => at('http://no-such-host.invalid')],
  [
    'a server that is silent',
    'PROVISIONING_TIMEOUT',
    'timeout',
    () =>
      withFleet(
        {},
        (fleet) => {
          fleet.provisioning.behave = () => 'hang';
        },
        () => ({ provisioning: { timeoutMs: 1000 } }),
      ),
  ],
  ['a connection that is reset', unreachable, 'reset', () => answers('reset')],
  ['SSH in place of HTTP', invalid, 'not-http', () => raw('SSH-2.0-x\r\n\r\n')],
  ['a redirect', invalid, 'redirected', () => answers({ redirect: 'http://elsewhere.example/' })],
  [
    'a captive portal',
    invalid,
    'captive-portal',
    () =>
      web((_, response) =>
        response.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in</html>'),
      ),
  ],
  ['an answer without a field', invalid, null, () => answers({ answer: { caCertificate: undefined } })],
  [
    'HTTP in place of TLS',
    untls,
    'not-tls',
    async () => at(`https://${await listening(createHttp((_, response) => response.end()))}`),
  ],
  [
    'a server certificate of an unknown CA',
    untls,
    'tls-untrusted',
    () =>
      withFleet(
        {},
        () => {},
        (fleet) => ({ provisioning: { url: fleet.httpsUrl } }),
      ),
  ],
  [
    'a server certificate that has expired',
    untls,
    'tls-expired',
    () => tls(['127.0.0.1'], { notBefore: ago(2 * hour), notAfter: ago(hour) }),
  ],
  [
    'a server certificate that is not valid yet',
    untls,
    'tls-not-yet-valid',
    () => tls(['127.0.0.1'], { notBefore: ago(-hour), notAfter: ago(-2 * hour) }),
  ],
  ['a server certificate for another host', untls, 'tls-wrong-host', () => tls(['example.org'])],
  [
    "another device's certificate",
    'CERTIFICATE_KEY_MISMATCH',
    null,
    () => answers({ certificate: { otherKey: true } }),
  ],
  [
    'a certificate that has expired',
    'CERTIFICATE_EXPIRED',
    null,
    () => answers({ certificate: { notBefore: ago(2 * hour), notAfter: ago(hour) } }),
  ],
  [
    'a certificate that is not valid yet',
    'CERTIFICATE_NOT_YET_VALID',
    null,
    () => answers({ certificate: { notBefore: ago(-hour), notAfter: ago(-2 * hour) } }),
  ],
  [
    'a certificate of another CA',
    'CERTIFICATE_UNTRUSTED',
    null,
    async () => answers({ certificate: { otherAuthority: await otherAuthority() } }),
  ],
  [
    'a certificate for another name',
    'CERTIFICATE_WRONG_DEVICE',
    null,
    () => answers({ certificate: { commonName: 'somebody else' } }),
  ],
  ['a token that is wrong', rejected, 'http-401', () => withFleet({ token: 'letmein' }, () => {})],
  ['NATS is down', 'NATS_UNREACHABLE', 'refused', () => withFleet({}, (fleet) => fleet.nats.kill('SIGKILL'))],
  [
    'NATS without TLS',
    'NATS_NOT_SECURE',
    'no-tls',
    () => withFleet({}, (fleet) => fleet.nats.restart({ tls: false })),
  ],
  [
    'NATS with a certificate of another CA',
    'NATS_TLS',
    'tls-untrusted',
    () =>
      withFleet({}, async (fleet) =>
        fleet.nats.restart({
          serverCertificate: await (await otherAuthority()).issueServer({ hosts: ['127.0.0.1'] }),
        }),
      ),
  ],
  [
    "NATS refuses the device's certificate",
    'NATS_TLS',
    'client-certificate-refused',
    () => withFleet({}, async (fleet) => fleet.nats.restart({ clientAuthority: await otherAuthority() })),
  ],
  [
    'NATS does not know the device',
    'NATS_DENIED',
    'not-authorized',
    () => withFleet({}, (fleet) => fleet.nats.setRights(() => 'none')),
  ],
  [
    'SSH in place of NATS',
    'NATS_UNREACHABLE',
    'not-nats',
    () =>
      withFleet({}, async (fleet) => {
        fleet.provisioning.natsUrl = `tls://${await listening(createServer((socket) => socket.end('SSH-2.0-x\r\n')))}`;
      }),
  ],
  ['no fleet manager', 'REGISTRATION_TIMEOUT', null, () => withFleet({ manager: false }, () => {})],
  ['the quota is reached', 'REGISTRATION_REJECTED', 'quota-exceeded', () => rejects('quota exceeded')],
  [
    'the id is taken',
    'REGISTRATION_REJECTED',
    'already-registered',
    () => rejects('device already registered'),
  ],
  ['the fleet manager refuses the device', 'REGISTRATION_REJECTED', null, () => rejects('no')],
  [
    'the fleet manager refuses the device at length',
    ...(['REGISTRATION_REJECTED', null] as const),
    () => rejects(longWords),
    cutWords('not today today'),
  ],
  [
    'HTTP 400 with a long message',
    ...([rejected, 'http-400'] as const),
    () => answers({ status: 400, body: JSON.stringify({ error: longWords }) }),
    cutWords('HTTP 400 \\([^)]*\\): '),
  ],
  ['the fleet manager answers nonsense', 'REGISTRATION_ANSWER_INVALID', null, () => managed('nonsense')],
  ['no URL', 'CONFIG_INVALID', null, async () => run({})],
  ['a URL that is none', 'CONFIG_INVALID', null, wrong({ provisioning: { url: 'nonsense' } })],
  ['a key that does not exist', 'CONFIG_INVALID', null, wrong({ nonsense: 1 })],
  ['a value of the wrong type', 'CONFIG_INVALID', null, wrong({ retry: { initialMs: 'soon' } })],
  [
    'a token file that does not exist',
    'CONFIG_INVALID',
    null,
    wrong({ provisioning: { url: 'http://127.0.0.1:1', tokenFile: '/nonexistent' } }),
  ],
  [
    'a CA file without a certificate',
    'CONFIG_INVALID',
    null,
    wrong({ provisioning: { url: 'http://127.0.0.1:1', caFile: '/etc/hostname' } }),
  ],
  [
    'a file that is no JSON',
    'CONFIG_INVALID',
    null,
    async () =>
      run({}, ({ configFile, stateDir }) => writeFileSync(configFile, `{"stateDir": "${stateDir}", `)),
  ],
  [
    'a state directory with other files',
    'CONFIG_INVALID',
    null,
    prepared(({ stateDir }) => {
      mkdirSync(stateDir);
      writeFileSync(join(stateDir, 'thesis.txt'), 'not ours');
    }),
  ],
  [
    'the state of a newer version',
    'STATE_CORRUPT',
    null,
    prepared((device) => stateOf(device, '{"version":99}')),
  ],
];

const foreign: readonly Short[] = [
  [
    'a file of the state that belongs to another user',
    'STATE_UNWRITABLE',
    'wrong-owner',
    prepared((device) => {
      mkdirSync(device.stateDir, { mode: 0o700 });
      writeFileSync(join(device.stateDir, 'registration.json'), '{}\n');
      chownSync(join(device.stateDir, 'registration.json'), nobody, nobody);
    }),
  ],
  [
    'a daemon that runs as another user',
    'STATE_UNWRITABLE',
    'wrong-owner',
    async () =>
      run({ provisioning: { url: `http://${await closed()}` } }, ({ stateDir }) => {
        mkdirSync(stateDir, { mode: 0o700 });
        chownSync(stateDir, nobody, nobody);
      }),
  ],
];

const unwritable = 'STATE_UNWRITABLE';
const exports: readonly Short[] = [
  [
    'an export to a read-only disk',
    ...([unwritable, 'read-only'] as const),
    () => exporting(join(readOnlyFolder(), 'id.txt')),
    /deviceId is not exported: .*EROFS/,
  ],
  [
    "an export to another user's folder",
    ...([unwritable, 'no-permission'] as const),
    () => exporting(join(temporaryFolder(), 'id.txt'), nobody),
    /deviceId is not exported: .*EACCES/,
  ],
  [
    'an export to a folder that only another user writes',
    ...([unwritable, 'no-permission'] as const),
    () => {
      const folder = temporaryFolder();
      chmodSync(folder, 0o755);
      return exporting(join(folder, 'id.txt'), nobody);
    },
    /deviceId is not exported: .*EACCES/,
  ],
];

const named = ([name, code, reason, make, shows]: Short): Row => ({
  ...{ name, code, reason, make },
  ...(shows && { shows }),
});

export const setUps: readonly Row[] = [
  ...rows.map(named),
  ...[...foreign, ...exports].map((row) => ({ ...named(row), needsRoot: true as const })),
];
