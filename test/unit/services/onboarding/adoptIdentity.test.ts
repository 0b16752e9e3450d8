import { expect, test } from 'vitest';
import type { AgentFiles } from '../../../../src/config/agentSettings.ts';
import { OnboardingError } from '../../../../src/errors/onboardingError.ts';
import { type Adopted, adoptIdentity } from '../../../../src/services/onboarding/adoptIdentity.ts';
import { resume } from '../../../../src/services/onboarding/resume.ts';
import {
  files,
  newState,
  parseState,
  type StateDirectory,
} from '../../../../src/services/state/deviceState.ts';
import * as pki from '../../../simulation/pki.ts';

const id = '9000f4db6a8645c7a5445cb56ac3ce22';
const now = Date.UTC(2026, 10, 24);
const day = 86_400_000;
const commonName = '/Finland~Solita/fleet/{id}/registration_agent';
const certificateOf = (key: string, changes: Partial<Parameters<typeof pki.certificatePem>[0]> = {}) =>
  pki.certificatePem({
    subject: commonName.replace('{id}', id),
    key,
    issuer: 'root',
    notBefore: now - day,
    notAfter: now + day,
    authority: false,
    serial: 1,
    ...changes,
  });
const ca = certificateOf('root', { subject: 'root', authority: true });

const named: AgentFiles = {
  deviceId: '/a/device_id.txt',
  deviceIdJson: '/a/device_id.json',
  key: '/a/identity.key',
  certificate: '/a/identity.crt',
  caCertificate: '/a/identity_ca.crt',
  natsUrl: '/a/service_nats_url.txt',
  identity: '/a/identity.txt',
};
type Disk = Partial<Record<keyof AgentFiles, string>>;
const whole: Disk = {
  deviceId: `${id}\n`,
  key: pki.keyPem('agentkey'),
  certificate: certificateOf('agentkey'),
  caCertificate: ca,
  natsUrl: 'tls://nats:4222\n',
};

/** @param strike is called before each change of the disk */
function device(
  left: Disk,
  stored: Map<string, string> = new Map(),
  strike: (what: string) => void = () => {},
  verify: typeof pki.verifyAsTlsClient = pki.verifyAsTlsClient,
) {
  const directory: StateDirectory = {
    read: (name) => stored.get(name) ?? null,
    write(name, text) {
      strike(`write ${name}`);
      stored.set(name, text);
    },
    refresh(name, text) {
      if (stored.get(name) === text) return;
      strike(`write ${name}`);
      stored.set(name, text);
    },
    settle: () => undefined,
    note: () => undefined,
    restrict: () => undefined,
    remove: (name) => void stored.delete(name),
    quarantine(name) {
      strike(`quarantine ${name}`);
      const kept = `${name}.damaged-${stored.size}`;
      stored.set(kept, stored.get(name) ?? '');
      stored.delete(name);
      return kept;
    },
  };
  const adopted: Adopted[] = [];
  const quarantined: OnboardingError[] = [];
  const ports = {
    directory,
    pki: { ...pki, verifyAsTlsClient: verify },
    now: () => now,
    random: () => 0.5,
    randomUUID: () => 'new-id',
    machine: () => ({ hardware: 'board', installation: null }),
    readOutside(path: string) {
      const [item] = Object.entries(named).find(([, other]) => other === path) ?? [];
      return left[item as keyof Disk] ?? null;
    },
    onAdopted: (what: Adopted) => void adopted.push(what),
    onQuarantined: (error: OnboardingError) => void quarantined.push(error),
    onLeft: () => undefined,
    onReplaced: () => undefined,
  };
  const options = { files: named, configuredId: null, commonName, natsUrl: null, renewalAt: 0.8 };
  return {
    stored,
    adopted,
    quarantined,
    state: () => parseState(stored.get(files.state) ?? ''),
    adopt: (more: Partial<Parameters<typeof adoptIdentity>[1]> = {}) =>
      adoptIdentity(ports, { ...options, ...more }, new AbortController().signal),
    resume: () => resume(ports, null),
  };
}

const other = 'ffffffffffffffffffffffffffffffff';
const kept = [id, 'agentkey', 'provisioned'] as const;
const asksAgain = [id, 'agentkey', 'csr'] as const;
const newKey = [id, null, 'keygen'] as const;

test.each<[string, Disk, readonly [string, string | null, string]]>([
  ['a whole identity', whole, kept],
  ['a whole identity, whose id stands in JSON', { ...whole, deviceId: '', deviceIdJson: `"${id}"` }, kept],
  ['an object with the id', { ...whole, deviceId: '', deviceIdJson: `{"id":"${id}","x":1}` }, kept],
  ['an object with a deviceId', { ...whole, deviceId: '', deviceIdJson: `{"deviceId":"${id}"}` }, kept],
  ['an object with a device_id', { ...whole, deviceId: '', deviceIdJson: `{"device_id":"${id}"}` }, kept],
  ['both spellings of one id', { ...whole, deviceIdJson: `{"id":"${id}","deviceId":"${id}"}` }, kept],
  [
    'JSON of another shape, and an id in the certificate',
    { ...whole, deviceId: '', deviceIdJson: '{"a":[]}' },
    kept,
  ],
  ['no file with the id, and one in the certificate', { ...whole, deviceId: '' }, kept],
  ['an id that was cut short, and one in the certificate', { ...whole, deviceId: id.slice(0, 10) }, kept],
  [
    'a certificate that has expired',
    { ...whole, certificate: certificateOf('agentkey', { notAfter: now - 1 }) },
    asksAgain,
  ],
  [
    'a certificate that starts tomorrow',
    { ...whole, certificate: certificateOf('agentkey', { notBefore: now + day }) },
    kept,
  ],
  ['a certificate for another key', { ...whole, certificate: certificateOf('otherkey') }, asksAgain],
  [
    'a certificate of another CA',
    { ...whole, certificate: certificateOf('agentkey', { issuer: 'rogue' }) },
    asksAgain,
  ],
  [
    'a certificate of another device',
    { ...whole, certificate: certificateOf('agentkey', { subject: commonName.replace('{id}', other) }) },
    asksAgain,
  ],
  ['a damaged certificate', { ...whole, certificate: 'garbage' }, asksAgain],
  ['a key and no certificate', { ...whole, certificate: '' }, asksAgain],
  ['a key and a certificate, and no CA', { ...whole, caCertificate: '' }, asksAgain],
  ['no NATS address', { ...whole, natsUrl: '' }, asksAgain],
  ['a NATS address that is none', { ...whole, natsUrl: 'http://a' }, asksAgain],
  ['a certificate and no key', { ...whole, key: '' }, newKey],
  ['a damaged key', { ...whole, key: 'garbage' }, newKey],
  ['an id, and nothing else', { deviceId: id }, newKey],
])('of %s id and key are kept, as far as they are there', async (_, left, [wanted, key, stage]) => {
  const { adopt, resume, state, stored, adopted } = device(left);
  await adopt();
  expect(resume()).toMatchObject({ deviceId: wanted, stage });
  expect(stored.get(files.key) ?? null).toBe(key === null ? null : pki.keyPem(key));
  expect(adopted).toHaveLength(1);
  expect(adopted[0]?.reason === null).toBe(state().provisioned !== null);
});

test('the state says that the fleet may know the id, and which files a reset has to remove', async () => {
  const { adopt, state } = device(whole);
  await adopt();
  expect(state()).toMatchObject({
    deviceId: id,
    idIsNew: false,
    mayBeRegistered: true,
    pinnedCa: ca,
    provisioned: { natsUrl: 'tls://nats:4222', opened: false },
    registration: null,
    exported: Object.keys(whole).map((item) => named[item as keyof Disk]),
  });
});

test('a damaged key is kept as a copy, and said', async () => {
  const { adopt, stored, quarantined } = device({ ...whole, key: 'garbage' });
  await adopt();
  expect([...stored].find(([name]) => name.includes('damaged'))?.[1]).toBe('garbage');
  expect(quarantined.map(({ message }) => message)).toEqual([
    expect.stringMatching(
      /^\/a\/identity\.key holds no private key.*copy is kept as identity\.key\.damaged-/,
    ),
  ]);
});

test('a short id that the certificate names is the id', async () => {
  const certificate = certificateOf('agentkey', { subject: commonName.replace('{id}', 'd1') });
  const { adopt, state } = device({ ...whole, deviceId: 'd1', certificate });
  await adopt();
  expect(state()).toMatchObject({ deviceId: 'd1', provisioned: { certificate } });
});

const pem = (type: string) => `-----BEGIN ${type}-----\nMIIE\n-----END ${type}-----\n`;

test.each([
  ['an encrypted key', pem('ENCRYPTED PRIVATE KEY'), 'it is encrypted'],
  [
    'a key that is encrypted as PKCS#1',
    pem('RSA PRIVATE KEY').replace('MIIE', 'Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIE'),
    'it is encrypted',
  ],
  ['a key of a kind that is not used', pem('OPENSSH PRIVATE KEY'), 'no private key'],
  ['a key in DER', Buffer.from([0x30, 0x82, 0x04, 0xbd]).toString('utf8'), 'it is no PEM'],
])('%s is refused, and nothing is written', async (_, key, flaw) => {
  const { adopt, stored } = device({ ...whole, key });
  const error = await adopt().catch((thrown) => thrown);
  expect(error).toMatchObject({ code: 'STATE_CORRUPT', class: 'permanent', reason: 'agent-key' });
  expect(error.message).toContain(`/a/identity.key, cannot be used, and is left as it is: ${flaw}`);
  expect(stored.size).toBe(0);
});

test('a key that was cut short is none that could be kept', async () => {
  const { adopt, resume } = device({ ...whole, key: pem('PRIVATE KEY').slice(0, 40) });
  await adopt();
  expect(resume()).toMatchObject({ deviceId: id, stage: 'keygen' });
});

test('where nothing was left, a device makes its own identity', async () => {
  const { adopt, resume, adopted, stored } = device({ natsUrl: 'nats://a', caCertificate: ca });
  await adopt();
  expect(stored.size).toBe(0);
  expect(resume()).toMatchObject({ deviceId: 'newid', stage: 'keygen' });
  expect(adopted).toEqual([]);
});

test.each([
  ['a key without any id', { key: whole.key }, 'STATE_CORRUPT'],
  [
    'an id file that cannot be understood, and a key',
    { key: whole.key, deviceId: 'two words' },
    'STATE_CORRUPT',
  ],
  ['an id that was cut short, and a key', { key: whole.key, deviceId: id.slice(0, 31) }, 'STATE_CORRUPT'],
  ['JSON with two ids', { key: whole.key, deviceIdJson: `{"id":"a","deviceId":"b"}` }, 'STATE_CORRUPT'],
  ['two files with two ids', { ...whole, deviceIdJson: `"${other}"` }, 'CONFIG_INVALID'],
] as [string, Disk, string][])('%s is refused, and nothing is written', async (_, left, code) => {
  const { adopt, stored } = device(left);
  await expect(adopt()).rejects.toMatchObject({ code, class: 'permanent', reason: 'agent-identity' });
  expect(stored.size).toBe(0);
});

test('an id that is configured names the identity that has none, and contradicts another', async () => {
  const nameless = device({ key: whole.key ?? '' });
  await nameless.adopt({ configuredId: id });
  expect(nameless.resume()).toMatchObject({ deviceId: id, stage: 'csr' });
  await expect(device(whole).adopt({ configuredId: other })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
  });
});

test.each([
  ['a state', new Map([[files.state as string, JSON.stringify(newState('own'))]])],
  ['a damaged state', new Map([[files.state as string, 'garbage']])],
  ['a key of its own', new Map([[files.key as string, pki.keyPem('ownkey')]])],
])('a state directory with %s adopts nothing', async (_, stored) => {
  const before = new Map(stored);
  const { adopt, adopted } = device(whole, stored);
  await adopt();
  expect(stored).toEqual(before);
  expect(adopted).toEqual([]);
});

test('a file that cannot be read does not count as absent', async () => {
  const broken = device(whole);
  const ports = {
    ...whole,
    get key(): string {
      throw new Error('EACCES');
    },
  };
  await expect(device(ports, broken.stored).adopt()).rejects.toThrow('EACCES');
  expect(broken.stored.size).toBe(0);
});

const lives: [string, Disk][] = [
  ['a whole identity', whole],
  ['a damaged key', { ...whole, key: 'garbage' }],
  ['an id', { deviceId: id }],
  ['a key without a certificate', { ...whole, certificate: '' }],
];

test.each(lives)('%s: killed at each write, a start ends as it would have without', async (_, left) => {
  const undisturbed = device(left);
  await undisturbed.adopt();
  undisturbed.resume();
  for (let kill = 1; ; kill++) {
    let writes = 0;
    const order: string[] = [];
    const struck = device(left, new Map(), (what) => {
      order.push(what);
      if (++writes === kill) throw new Error('killed');
    });
    const isWhole = await struck.adopt().then(
      () => true,
      () => false,
    );
    if (isWhole) {
      expect(order.at(-1)).toBe(`write ${files.state}`);
      break;
    }
    const next = device(left, struck.stored);
    await next.adopt();
    expect(next.resume()).toEqual(
      undisturbed.stored.size > 0 && device(left, new Map(undisturbed.stored)).resume(),
    );
    expect(next.state()).toEqual(undisturbed.state());
    expect(next.stored.get(files.key)).toBe(undisturbed.stored.get(files.key));
  }
});

const all = { deviceId: id, key: 'kept', certificate: 'kept', reason: null } as const;
const requested = { ...all, certificate: 'requested' } as const;

test.each<[string, Disk, Adopted]>([
  ['everything', whole, all],
  ['no key', { ...whole, key: '' }, { ...requested, key: 'new', reason: 'there is no key' }],
  [
    'a damaged key',
    { ...whole, key: 'garbage' },
    { ...requested, key: 'new', reason: 'the key cannot be used' },
  ],
  ['no certificate', { ...whole, certificate: ' ' }, { ...requested, reason: 'there is no certificate' }],
  ['no CA', { ...whole, caCertificate: '\n' }, { ...requested, reason: 'there is no CA certificate' }],
  ['no NATS address', { ...whole, natsUrl: '' }, { ...requested, reason: 'there is no NATS address' }],
])('what becomes of an identity is told: %s', async (_, left, expected) => {
  const { adopt, adopted } = device(left);
  await adopt();
  expect(adopted).toEqual([expected]);
});

test('a certificate that cannot be read is told with the reader’s reason', async () => {
  const { adopt, adopted } = device({ ...whole, certificate: 'garbage' });
  await adopt();
  expect(adopted[0]?.reason).toMatch(/^the certificate cannot be read: ./);
});

test('a configured NATS address is kept in place of a missing one', async () => {
  const { adopt, state } = device({ ...whole, natsUrl: '' });
  await adopt({ natsUrl: 'tls://configured:4222' });
  expect(state().provisioned?.natsUrl).toBe('tls://configured:4222');
});

test('a certificate that OpenSSL did not judge in time is tried again, and nothing is written', async () => {
  const verify = async () => {
    throw new Error('no verdict in time');
  };
  const { adopt, stored } = device(whole, new Map(), () => {}, verify);
  await expect(adopt()).rejects.toMatchObject({ code: 'CERTIFICATE_UNTRUSTED', class: 'transient' });
  expect(stored.size).toBe(0);
});

test('a certificate that OpenSSL rejects is requested anew, for its reason', async () => {
  const { adopt, adopted } = device(
    whole,
    new Map(),
    () => {},
    async () => 'certificate signature failure',
  );
  await adopt();
  expect(adopted[0]).toMatchObject({
    certificate: 'requested',
    reason: expect.stringMatching(/certificate signature failure$/),
  });
});

test('settings that name no files leave a new device alone', async () => {
  const { adopt, stored } = device(whole);
  const none = Object.fromEntries(Object.keys(named).map((item) => [item, null])) as unknown as AgentFiles;
  await adopt({ files: none, configuredId: id });
  expect(stored.size).toBe(0);
});

test("the agent's identity file is this device's from then on, and is no identity by itself", async () => {
  const { adopt, state } = device({ ...whole, identity: 'whatever it holds' });
  await adopt();
  expect(state().exported).toContain(named.identity);
  const alone = device({ identity: 'whatever it holds' });
  await alone.adopt();
  expect(alone.stored.size).toBe(0);
});

test('files that are not named are not read', async () => {
  const { adopt, adopted, state } = device(whole);
  await adopt({ files: { ...named, deviceIdJson: null, natsUrl: null } });
  expect(adopted[0]?.reason).toBe('there is no NATS address');
  expect(state().exported).not.toContain(named.natsUrl);
});

test.each<[string, Disk]>([
  ['an id in JSON', { deviceIdJson: `"${id}"` }],
  ['a certificate', { certificate: certificateOf('agentkey') }],
  [
    'a certificate whose common name is the short one',
    { certificate: certificateOf('agentkey', { subject: `${id}/registration_agent` }) },
  ],
])('%s is enough to know the id', async (_, left) => {
  const { adopt, state } = device(left);
  await adopt();
  expect(state().deviceId).toBe(id);
});

test.each([
  `${id}/registration_agent/x`,
  `x${id}/registration_agent`,
  'device',
])('the common name %s names no id', async (subject) => {
  const { adopt } = device({ certificate: certificateOf('agentkey', { subject }) });
  await expect(adopt()).rejects.toMatchObject({ code: 'STATE_CORRUPT' });
});

test.each([
  '{',
  'null',
  '[]',
  `{"id":"${id}","deviceId":7}`,
])('JSON without one id, %s, names none', async (deviceIdJson) => {
  const { adopt } = device({ key: whole.key ?? '', deviceIdJson });
  await expect(adopt()).rejects.toMatchObject({ code: 'STATE_CORRUPT' });
});

const { deviceId: idFile, deviceIdJson: jsonFile } = named;
test.each<[string, Disk, Partial<Parameters<typeof adoptIdentity>[1]>, string]>([
  [
    'two ids',
    { ...whole, deviceIdJson: `"${other}"` },
    {},
    `this device has more than one id: the earlier agent left ${id}, ${other}; see ${idFile} and ${jsonFile}`,
  ],
  [
    'another id than the configured one',
    whole,
    { configuredId: other, files: { ...named, deviceIdJson: null } },
    `this device has more than one id: the earlier agent left ${id}, ${other} (identity.deviceId); see ${idFile}`,
  ],
  [
    'no id',
    { key: whole.key ?? '' },
    {},
    `the earlier agent left an identity whose device id cannot be read from ${idFile} and ${jsonFile}`,
  ],
  [
    'no id and no file for it',
    { key: whole.key ?? '' },
    { files: { ...named, deviceId: null, deviceIdJson: null } },
    'the earlier agent left an identity whose device id cannot be read',
  ],
])('the message names the ids and the files: %s', async (_, left, options, message) => {
  const error: unknown = await device(left)
    .adopt(options)
    .catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(OnboardingError);
  expect(error).toMatchObject({ message });
});
