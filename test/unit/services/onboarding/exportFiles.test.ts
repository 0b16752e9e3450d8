import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sha256 } from '../../../../src/adapters/disk/digest.ts';
import { groupId, stageExport } from '../../../../src/adapters/disk/exportedFile.ts';
import { readRegularFile } from '../../../../src/adapters/regularFile.ts';
import { type ExportSetting, exportTarget } from '../../../../src/config/exports.ts';
import { OnboardingError } from '../../../../src/errors/onboardingError.ts';
import { remedyOf } from '../../../../src/errors/reasons.ts';
import { compareExport } from '../../../../src/services/onboarding/compareExport.ts';
import { deliverResult, prepareIdentity } from '../../../../src/services/onboarding/exportFiles.ts';
import { currentState, files, newState, updateState } from '../../../../src/services/state/deviceState.ts';
import * as pki from '../../../simulation/pki.ts';
import { memoryDirectory } from '../../../support/memoryDirectory.ts';

const now = Date.UTC(2026, 10, 24);
const id = '9000f4db6a8645c7a5445cb56ac3ce22';
const certificateOf = (key: string, serial = 1) =>
  pki.certificatePem({
    subject: id,
    key,
    issuer: 'root',
    notBefore: now - 1000,
    notAfter: now + 1000,
    authority: false,
    serial,
  });
const certificate = certificateOf('own');
const caCertificate = certificateOf('root');

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'exports-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

type Step = 'stage' | 'place' | 'settle';

/** A registered device. @param onStep is called before each step of an export */
function device(
  exports: Record<string, ExportSetting>,
  result: Record<string, unknown> = { status: 'success' },
  onStep: (path: string, step: Step) => void = () => {},
) {
  const stored = new Map<string, string>();
  const directory = memoryDirectory(stored);
  stored.set(files.key, pki.keyPem('own'));
  stored.set(files.state, JSON.stringify(newState(id)));
  const at = new Date(now).toISOString();
  updateState(directory, () => ({
    provisioned: { certificate, caCertificate, natsUrl: 'tls://nats:4222', renewAt: at, opened: true },
    registration: { alias: null, at, result: JSON.stringify(result), announced: null },
  }));
  const ports = {
    directory,
    pki,
    now: () => now,
    readOutside: readRegularFile,
    sha256,
    stageExport(...[path, ...rest]: Parameters<typeof stageExport>) {
      onStep(path, 'stage');
      const file = stageExport(path, ...rest);
      const before = (step: 'place' | 'settle') => () => {
        onStep(path, step);
        file?.[step]();
      };
      return file && { place: before('place'), settle: before('settle') };
    },
  };
  const options = {
    exports: Object.fromEntries(Object.entries(exports).map(([item, one]) => [item, exportTarget(one)])),
    natsUrl: null,
    commonName: '/fleet/{id}',
    builtAt: 0,
  };
  return {
    ports,
    directory,
    exported: () => currentState(directory).exported,
    prepare: () => prepareIdentity(ports, options),
    deliver: () => deliverResult(ports, options),
  };
}

const path = (name: string) => join(folder, name);
const read = (name: string) => readFileSync(path(name), 'utf8');
const inodeOf = (name: string) => {
  const { ino, mtimeMs, ctimeMs } = statSync(path(name));
  return { ino, mtimeMs, ctimeMs };
};

test.each([
  'user token',
  ' user token \r\n\n',
  'dXNlciB0b2tlbg==',
  '',
  'üñ \u{1F600}\0',
  '\uFEFFtoken',
  '\ud800',
])('the token %j is written byte for byte, and left alone while it is unchanged', (token) => {
  const { deliver } = device({ token: path('PAT.pat') }, { status: 'success', token });
  deliver();
  expect(readFileSync(path('PAT.pat'))).toEqual(Buffer.from(token, 'utf8'));
  const before = inodeOf('PAT.pat');
  deliver();
  expect(inodeOf('PAT.pat')).toEqual(before);
});

test('the token gets its place right after the compose file, and nothing is written or synced between, however they are configured', () => {
  const steps: string[] = [];
  const { deliver } = device(
    { token: path('PAT.pat'), configuration: path('docker-compose.yml'), alias: path('alias') },
    { status: 'success', token: 't', configuration: 'c', alias: 'a' },
    (written, step) => steps.push(`${step} ${basename(written)}`),
  );
  expect(deliver()).toEqual([]);
  const inOrder = ['alias', 'docker-compose.yml', 'PAT.pat'];
  expect(steps).toEqual(
    ['stage', 'place', 'settle'].flatMap((step) => inOrder.map((name) => `${step} ${name}`)),
  );
});

test.each([
  'stage',
  'place',
  'settle',
] as const)('an export that fails at the step "%s" keeps none of the others', (failing) => {
  const { deliver } = device(
    { configuration: path('docker-compose.yml'), token: path('PAT.pat') },
    { status: 'success', token: 't', configuration: 'c' },
    (written, step) => {
      if (step !== failing || !written.endsWith('.yml')) return;
      if (step === 'place') mkdirSync(path('docker-compose.yml/in the way'), { recursive: true });
      else throw new OnboardingError('STATE_UNWRITABLE', 'EIO');
    },
  );
  expect(deliver().map(({ item }) => item)).toEqual(['configuration']);
  expect(read('PAT.pat')).toBe('t');
  expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});

test('an export whose place cannot be looked at keeps none of the others, and leaves no temporary file', () => {
  writeFileSync(path('not-a-folder'), '');
  const { deliver } = device(
    {
      configuration: path('docker-compose.yml'),
      token: { path: path('not-a-folder/PAT.pat'), group: String(process.getgid?.()) },
    },
    { status: 'success', token: 't', configuration: 'c' },
  );
  expect(deliver().map(({ item, error }) => [item, error.code])).toEqual([['token', 'STATE_UNWRITABLE']]);
  expect(read('docker-compose.yml')).toBe('c');
  expect(readdirSync(folder).sort()).toEqual(['docker-compose.yml', 'not-a-folder']);
});

test('of two items with one path the later one stands there, in its turn', () => {
  const placed: string[] = [];
  const { deliver } = device(
    { alias: path('both'), token: path('both'), configuration: path('docker-compose.yml') },
    { status: 'success', token: 't', configuration: 'c', alias: 'a' },
    (written, step) => step === 'place' && placed.push(basename(written)),
  );
  expect(deliver()).toEqual([]);
  expect(read('both')).toBe('t');
  expect(placed).toEqual(['docker-compose.yml', 'both']);
});

test('an export that somebody removed comes back, though the others are as they should be', () => {
  const { deliver } = device({ certificate: path('identity.crt'), deviceId: path('device_id.txt') });
  deliver();
  rmSync(path('identity.crt'));
  deliver();
  expect(read('identity.crt')).toBe(certificate);
});

test('one export that cannot be written keeps none of the others, and is written once it can be', () => {
  writeFileSync(path('not-a-folder'), '');
  const { deliver, prepare } = device(
    {
      certificate: path('not-a-folder/crt'),
      key: path('identity.key'),
      configuration: path('not-a-folder/compose'),
      token: path('PAT.pat'),
    },
    { status: 'success', token: 't', configuration: 'c' },
  );
  expect(prepare().failures.map(({ item }) => item)).toEqual(['certificate']);
  const failures = deliver();
  expect(failures.map(({ item, error }) => [item, error.code])).toEqual([
    ['certificate', 'STATE_UNWRITABLE'],
    ['configuration', 'STATE_UNWRITABLE'],
  ]);
  expect(read('identity.key')).toBe(pki.keyPem('own'));
  expect(read('PAT.pat')).toBe('t');
  rmSync(path('not-a-folder'));
  mkdirSync(path('not-a-folder'));
  expect(deliver()).toEqual([]);
  expect(read('not-a-folder/compose')).toBe('c');
});

test('mode and group of an export are as configured, and set again where they differ', () => {
  const gid = process.getegid?.() ?? 0;
  const { deliver } = device(
    { token: { path: path('PAT.pat'), mode: '0640', group: String(gid) } },
    { status: 'success', token: 't' },
  );
  deliver();
  expect(statSync(path('PAT.pat')).mode & 0o7777).toBe(0o640);
  expect(statSync(path('PAT.pat')).gid).toBe(gid);
  const before = inodeOf('PAT.pat');
  deliver();
  expect(inodeOf('PAT.pat')).toEqual(before);
});

test.runIf(process.geteuid?.() === 0)('a file of another group is replaced', () => {
  const { deliver } = device(
    { token: { path: path('PAT.pat'), mode: '0640', group: '12345' } },
    { status: 'success', token: 't' },
  );
  writeFileSync(path('PAT.pat'), 't');
  deliver();
  expect(statSync(path('PAT.pat'))).toMatchObject({ uid: 0, gid: 12345 });
});

test.runIf(process.geteuid?.() === 0)(
  'a group that the writer may not give files to is named with what helps',
  () => {
    const target = { path: path('PAT.pat'), mode: '0640', group: '12345' };
    const { deliver } = device({ token: target }, { status: 'success', token: 't' });
    chmodSync(folder, 0o777);
    let failures: ReturnType<typeof deliver> = [];
    try {
      process.seteuid?.(65_534);
      failures = deliver();
    } finally {
      process.seteuid?.(0);
    }
    expect(failures).toMatchObject([
      { item: 'token', error: { code: 'STATE_UNWRITABLE', reason: 'group-refused' } },
    ]);
    expect(remedyOf('STATE_UNWRITABLE', 'group-refused')).toMatch(
      /SupplementaryGroups=.*PrivateUsers=no.*SystemCallFilter=@chown/,
    );
  },
);

test('groups are found by name and by number', () => {
  writeFileSync(path('group'), 'root:x:0:\ndocker:x:998:a,b\nbroken\n');
  expect(groupId('docker', path('group'))).toBe(998);
  expect(groupId('1000', path('group'))).toBe(1000);
  expect(groupId('nobody-here', path('group'))).toBeNull();
  expect(groupId('docker', path('none'))).toBeNull();
  expect(() => stageExport(path('a'), 'a', 0o600, 'nobody-here')).toThrow(OnboardingError);
});

const permissions = (name: string) => statSync(path(name)).mode & 0o7777;

test('what is secret is for its owner alone, what is public for everybody', () => {
  const fields = ['token', 'alias', 'note', 'certificate', 'natsUrl', 'deviceId', 'key', 'registration'];
  const { deliver } = device(Object.fromEntries(fields.map((name) => [name, path(name)])), {
    ...{ status: 'success', token: 't', alias: 'a', note: { a: 1 } },
  });
  expect(deliver()).toEqual([]);
  const open = fields.filter((name) => permissions(name) === 0o644);
  const closed = fields.filter((name) => permissions(name) === 0o600);
  expect(open).toEqual(['alias', 'certificate', 'natsUrl', 'deviceId']);
  expect(closed).toEqual(['token', 'note', 'key', 'registration']);
  expect(read('note')).toBe('{"a":1}');
});

test('an address with a password in it is secret', () => {
  const { deliver, directory } = device({ natsUrl: path('natsUrl') });
  const { provisioned } = currentState(directory);
  if (provisioned === null) throw new Error('it has no certificate');
  updateState(directory, () => ({ provisioned: { ...provisioned, natsUrl: 'tls://user:secret@nats:4222' } }));
  deliver();
  expect(permissions('natsUrl')).toBe(0o600);
});

test.each(['registration', files.registration])('the whole result is exported as %s, as it came', (item) => {
  const result = { status: 'success', alias: 'a', token: 't' };
  const { deliver } = device({ [item]: path('result.json'), missing: path('missing') }, result);
  expect(deliver()).toEqual([]);
  expect(read('result.json')).toBe(JSON.stringify(result));
  expect(existsSync(path('missing'))).toBe(false);
});

test('a device that is not registered exports its identity alone, and says that it is not', () => {
  const { deliver, prepare, directory } = device({ deviceId: path('device_id.txt'), alias: path('alias') });
  expect(prepare()).toEqual({ registered: true, failures: [] });
  updateState(directory, () => ({ registration: null }));
  expect(prepare()).toEqual({ registered: false, failures: [] });
  expect(deliver()).toEqual([]);
  expect(read('device_id.txt')).toBe(id);
  expect(existsSync(path('alias'))).toBe(false);
});

test('a device without a certificate exports nothing', () => {
  const { prepare, directory } = device({ deviceId: path('device_id.txt') });
  updateState(directory, () => ({ provisioned: null, registration: null }));
  expect(prepare()).toEqual({ registered: false, failures: [] });
  expect(existsSync(path('device_id.txt'))).toBe(false);
});

test('of an export the last four contents are known, each once, the newest last', () => {
  const { deliver, directory } = device({ token: path('PAT.pat') }, { status: 'success', token: '0' });
  const digests = () => currentState(directory).exportDigests[path('PAT.pat')];
  const write = (token: string) => {
    const at = new Date(now).toISOString();
    const result = JSON.stringify({ status: 'success', token });
    updateState(directory, () => ({ registration: { alias: null, at, result, announced: null } }));
    deliver();
  };
  for (const token of ['1', '2', '3', '4', '5']) write(token);
  expect(digests()).toEqual(['2', '3', '4', '5'].map(sha256));
  write('3');
  expect(digests()).toEqual(['2', '4', '5', '3'].map(sha256));
  write('3');
  expect(digests()).toEqual(['2', '4', '5', '3'].map(sha256));
});

test('a bug in what writes an export ends the step, and is not taken for a failure of the disk', () => {
  const { deliver } = device({ token: path('PAT.pat') }, { status: 'success', token: 't' }, () => {
    throw new TypeError('a bug');
  });
  expect(deliver).toThrow('a bug');
});

const exportsOfIdentity = () => ({
  key: path('identity.key'),
  certificate: path('identity.crt'),
  caCertificate: path('identity_ca.crt'),
  deviceId: path('device_id.txt'),
  natsUrl: path('service_nats_url.txt'),
});

test.each([
  ['identity.key', pki.keyPem('another')],
  ['identity.key', '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA'],
  ['identity.crt', certificateOf('another')],
  ['device_id.txt', 'ffffffffffffffffffffffffffffffff\n'],
])("another identity's %s is never overwritten, and no file of ours is put beside it", (name, text) => {
  writeFileSync(path(name), text);
  const { deliver, exported } = device(
    { ...exportsOfIdentity(), token: path('PAT.pat') },
    { status: 'success', token: 't' },
  );
  for (const _ of ['once', 'and again']) {
    const failures = deliver();
    expect(failures.map(({ error }) => [error.code, error.reason])).toEqual(
      Array(5).fill(['CONFIG_INVALID', 'agent-identity']),
    );
    expect(
      failures.some(({ error }) => error.message.includes(`${name}", which holds that of another identity`)),
    ).toBe(true);
    expect(read(name)).toBe(text);
    expect(exported()).toEqual([path('PAT.pat')]);
    expect(read('PAT.pat')).toBe('t');
  }
});

test('a path that was written before, or adopted, is the device’s own to replace', () => {
  writeFileSync(path('identity.key'), pki.keyPem('another'));
  const { deliver, directory } = device({ key: path('identity.key') });
  updateState(directory, () => ({ exported: [path('identity.key')] }));
  expect(deliver()).toEqual([]);
  expect(read('identity.key')).toBe(pki.keyPem('own'));
});

test('the same in another form is left as the earlier agent wrote it', () => {
  writeFileSync(path('device_id.txt'), `${id}\n`);
  writeFileSync(path('identity.crt'), `\n${certificate}`);
  writeFileSync(path('service_nats_url.txt'), 'tls://nats:4222\n');
  const before = ['device_id.txt', 'identity.crt', 'service_nats_url.txt'].map(inodeOf);
  expect(device(exportsOfIdentity()).deliver()).toEqual([]);
  expect(['device_id.txt', 'identity.crt', 'service_nats_url.txt'].map(inodeOf)).toEqual(before);
  expect(read('identity.key')).toBe(pki.keyPem('own'));
});

test('what is there by this device is known by path and digest, whether it was written or left as it was', () => {
  writeFileSync(path('device_id.txt'), `${id}\n`);
  const { deliver, directory } = device(exportsOfIdentity());
  deliver();
  const { exported, exportDigests } = currentState(directory);
  expect(exported).toEqual(expect.arrayContaining([path('device_id.txt'), path('identity.key')]));
  expect(exportDigests).toMatchObject({
    [path('device_id.txt')]: [sha256(`${id}\n`)],
    [path('identity.key')]: [sha256(pki.keyPem('own'))],
  });
});

test('what another agent wrote to its identity file stays, and concerns no other export', () => {
  writeFileSync(path('identity.txt'), 'something else');
  const { deliver } = device({ ...exportsOfIdentity(), identity: path('identity.txt') });
  expect(deliver().map(({ item }) => item)).toEqual(['identity']);
  expect(read('identity.txt')).toBe('something else');
  expect(read('identity.key')).toBe(pki.keyPem('own'));
});

test('the identity file of the agent whose identity was adopted stays as it is, and is no failure', () => {
  const before = 'something else';
  writeFileSync(path('identity.txt'), before);
  const { deliver, directory, exported } = device({ ...exportsOfIdentity(), identity: path('identity.txt') });
  updateState(directory, () => ({ exported: [path('identity.txt')] }));
  for (const _ of ['once', 'again']) expect(deliver()).toEqual([]);
  expect(read('identity.txt')).toBe(before);
  expect(exported()).toContain(path('identity.txt'));
});

test('an identity file of our own follows the common name', () => {
  const { deliver } = device({ identity: path('identity.txt') });
  deliver();
  expect(read('identity.txt')).toBe(`/fleet/${id}`);
  const renamed = device({ identity: path('identity.txt') });
  updateState(renamed.directory, () => ({
    exported: [path('identity.txt')],
    exportDigests: { [path('identity.txt')]: [sha256('/old/name')] },
  }));
  writeFileSync(path('identity.txt'), '/old/name');
  expect(renamed.deliver()).toEqual([]);
  expect(read('identity.txt')).toBe(`/fleet/${id}`);
});

test.each([
  ['key', 'garbage', 'unlike'],
  ['key', '', 'unlike'],
  ['certificate', certificateOf('own', 2), 'unlike'],
  ['certificate', 'garbage', 'unlike'],
  ['caCertificate', certificateOf('another'), 'unlike'],
  ['natsUrl', 'tls://other', 'unlike'],
  ['deviceId', 'two words', 'unlike'],
] as const)('in the place of %s the text %j is replaced', (item, existing, standing) => {
  expect(compareExport(pki, item, existing, item === 'key' ? pki.keyPem('own') : certificate)).toBe(standing);
});

test.each([
  ['deviceId', ` ${id}\n`, id, 'same'],
  ['deviceId', id, `${id}\n`, 'same'],
  ['deviceId', id, id, 'equal'],
  ['deviceId', null, id, 'absent'],
  ['natsUrl', 'tls://a\n', 'tls://a', 'same'],
  ['natsUrl', 'tls://a', 'tls://a\n', 'same'],
  ['identity', ' /fleet/a\n', '/fleet/a', 'same'],
  ['identity', '/fleet/a', '/fleet/a\n', 'same'],
  ['identity', ' \n', '/fleet/a', 'unlike'],
  ['identity', '/fleet/b', '/fleet/a', 'foreign'],
  ['certificate', 'garbage', 'not ours either', 'unlike'],
] as const)('of %s, the file %j beside ours, %j, is %s', (item, existing, ours, standing) => {
  expect(compareExport(pki, item, existing, ours)).toBe(standing);
});

test('an export that may not be read fails for what the disk says, not as a file of an earlier agent', () => {
  const { ports } = device({});
  const denied = Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
  const readOutside = () => {
    throw new OnboardingError('STATE_UNWRITABLE', 'cannot read /x/id.txt', {
      cause: denied,
      reason: 'agent-unreadable',
    });
  };
  const exports = { deviceId: exportTarget('/x/id.txt') };
  const options = { exports, natsUrl: null, commonName: '/fleet/{id}', builtAt: 0 };
  const { failures } = prepareIdentity({ ...ports, readOutside }, options);
  expect(failures).toMatchObject([{ item: 'deviceId', error: { reason: 'no-permission' } }]);
});
