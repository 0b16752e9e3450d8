import { expect, test } from 'vitest';
import { OnboardingError } from '../../../../src/errors/onboardingError.ts';
import { checkClock } from '../../../../src/services/onboarding/clockCheck.ts';
import type { Identity } from '../../../../src/services/onboarding/register.ts';
import {
  addressesToProve,
  type HttpAnswer,
  mustProveAddress,
  type RequestCertificateOptions,
  requestCertificate,
  tryCertificate,
  unexpiredLeaf,
  unknownAddresses,
} from '../../../../src/services/onboarding/requestCertificate.ts';
import type { Session } from '../../../../src/services/onboarding/session.ts';
import {
  currentState,
  type DeviceState,
  files,
  newState,
  type Provisioned,
  type StateDirectory,
} from '../../../../src/services/state/deviceState.ts';
import * as pki from '../../../simulation/pki.ts';
import { memoryDirectory } from '../../../support/memoryDirectory.ts';

const now = Date.UTC(2026, 10, 23);
const fields = { certificate: 'C', caCertificate: 'CA', fleetManagementNatsUrl: 'tls://a:4222' };

/** What a device makes of an answer. */
async function askedOf(answer: Partial<HttpAnswer>, natsUrl: string | null = null) {
  const contents: Record<string, string> = {
    [files.state]: JSON.stringify(newState('d1')),
    [files.key]: pki.keyPem('k1'),
  };
  const directory = { read: (name: string) => contents[name] ?? null } as StateDirectory;
  const empty = { status: 200, contentType: null, body: '', serverTime: null, retryAfterMs: null };
  return await requestCertificate(
    {
      directory,
      pki: { ...pki, certificateRequest: async () => 'csr' },
      post: async () => ({ ...empty, ...answer }),
      now: () => now,
      random: () => 0.5,
    },
    {
      swarmId: null,
      commonName: '{id}',
      natsUrl,
      renewalAt: 0.8,
      authenticated: false,
      fleetCa: null,
      builtAt: 0,
    },
    { isReplacement: false },
    new AbortController().signal,
  );
}

test('a provisioning answer that is nested beyond measure is refused before it is read', async () => {
  const body = `{"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
  await expect(askedOf({ body })).rejects.toMatchObject({
    code: 'PROVISIONING_ANSWER_INVALID',
    message: expect.stringContaining('invalid JSON ('),
  });
});

test.each([
  [400, 'PROVISIONING_REJECTED', 'permanent', 'http-400'],
  [401, 'PROVISIONING_REJECTED', 'permanent', 'http-401'],
  [404, 'PROVISIONING_REJECTED', 'permanent', 'http-404'],
  [409, 'PROVISIONING_REJECTED', 'permanent', 'http-409'],
  [408, 'PROVISIONING_REJECTED', 'transient', 'http-408'],
  [418, 'PROVISIONING_REJECTED', 'permanent', 'http-4xx'],
  [425, 'PROVISIONING_REJECTED', 'transient', 'http-425'],
  [429, 'PROVISIONING_REJECTED', 'transient', 'http-429'],
  [500, 'PROVISIONING_REJECTED', 'transient', 'http-500'],
  [503, 'PROVISIONING_REJECTED', 'transient', 'http-503'],
  [300, 'PROVISIONING_ANSWER_INVALID', 'transient', 'redirected'],
  [199, 'PROVISIONING_ANSWER_INVALID', 'transient', null],
  [511, 'PROVISIONING_REJECTED', 'transient', 'http-511'],
  [599, 'PROVISIONING_REJECTED', 'transient', 'http-5xx'],
  [307, 'PROVISIONING_ANSWER_INVALID', 'transient', 'redirected'],
])('an answer of HTTP %i is %s, %s, for the reason %s', async (status, code, kind, reason) => {
  await expect(askedOf({ status })).rejects.toMatchObject({ code, class: kind, reason });
});

test.each([199, 307])('an answer of HTTP %i is none, whatever its body', async (status) => {
  await expect(askedOf({ status, body: JSON.stringify(fields) })).rejects.toThrow(
    `the provisioning server answered HTTP ${status}; redirects are not followed`,
  );
});

test.each<[string, Partial<HttpAnswer>, boolean]>([
  ['a web page', { body: '<html>log in</html>', contentType: 'text/html' }, true],
  ['an answer without a certificate', { body: '{}' }, true],
  ['a certificate that is none', { body: JSON.stringify({ ...fields, certificate: 'C' }) }, true],
  ['a redirect', { status: 302 }, true],
  ['a rejection', { status: 400 }, false],
  ['an overloaded server', { status: 503 }, false],
])('a server that gives %s makes room for the next one only if no fleet answers so', async (_, answer, isDisowned) => {
  let disowned = 0;
  await expect(askedOf({ ...answer, disown: () => disowned++ })).rejects.toThrow(OnboardingError);
  expect(disowned).toBe(isDisowned ? 1 : 0);
});

test('a server whose certificate is taken is not disowned', async () => {
  let disowned = 0;
  const { ports } = device();
  const post = async (json: string) => ({ ...(await ports.post(json)), disown: () => disowned++ });
  await requestCertificate({ ...ports, post }, usual, { isReplacement: false }, signal);
  expect(disowned).toBe(0);
});

test('a content type is shown up to its 60th character', async () => {
  const contentType = `text/${'x'.repeat(55)}and more`;
  await expect(askedOf({ contentType, body: '1' })).rejects.toThrow(
    `JSON that is not an object (text/${'x'.repeat(55)}, 1 characters)`,
  );
});

test('a web page in place of an answer is a portal, and other text is not', async () => {
  const page = { body: '<html>log in</html>' };
  const of = (contentType: string | null) => askedOf({ ...page, contentType });
  await expect(of('text/html; charset=utf-8')).rejects.toMatchObject({
    code: 'PROVISIONING_ANSWER_INVALID',
    reason: 'captive-portal',
  });
  await expect(of('text/plain')).rejects.toMatchObject({
    reason: 'captive-portal',
    message: expect.stringContaining('a web page in place of JSON (text/plain, 19 characters)'),
  });
  await expect(askedOf({ body: 'log in', contentType: 'text/plain' })).rejects.toMatchObject({
    code: 'PROVISIONING_ANSWER_INVALID',
    reason: null,
  });
});

test('an error in an answer of HTTP 200 is shown, cut and without control characters', async () => {
  const messageOf = async (json: object) =>
    String((await askedOf({ body: JSON.stringify(json) }).catch((error) => error)).message);
  expect(await messageOf({ error: 'swarm_id is mandatory' })).toBe(
    'the provisioning server answered no certificate, but an error: swarm_id is mandatory',
  );
  expect(await messageOf({ message: '\u001b[31mno' })).toMatch(/, but an error: \[31mno$/);
  expect((await messageOf({ error: 'x'.repeat(10_000) })).length).toBeLessThan(400);
});

test('an empty answer is called so', async () => {
  await expect(askedOf({ body: ' \n' })).rejects.toThrow('the provisioning server answered nothing (');
});

test('an HTTP error shows what the server said on one line, cut to 300 characters, without control characters', async () => {
  const messageOf = async (body: string, contentType: string | null = 'application/json') =>
    String((await askedOf({ status: 400, body, contentType }).catch((error) => error)).message);
  const answered = 'the provisioning server answered HTTP 400 (the server considers the request malformed)';
  expect(await messageOf('{"error":"swarm_id is mandatory"}')).toBe(
    `${answered}: {"error":"swarm_id is mandatory"}`,
  );
  expect(await messageOf('a\u001b[31m\n\tb')).toBe(`${answered}: a [31m b`);
  expect(await messageOf('x'.repeat(10_000))).toHaveLength(answered.length + 2 + 300);
  expect(await messageOf('<html>no</html>', 'text/html')).toBe(answered);
  expect(await messageOf('')).toBe(answered);
});

const ask = (body: string, natsUrl: string | null = null) => askedOf({ body }, natsUrl);

test.each([
  ['JSON that is not an object (no content type, 2 characters)', []],
  ['JSON that is not an object (no content type, 4 characters)', null],
  ['no certificate', {}],
  ['no certificate', { ...fields, certificate: undefined, caCertificate: 1 }],
  ['a malformed certificate', { ...fields, certificate: ' \n' }],
  ['a malformed certificate', { ...fields, certificate: null }],
  ['no caCertificate', { ...fields, caCertificate: undefined }],
  ['a malformed caCertificate', { ...fields, caCertificate: ['CA'] }],
  ['no fleetManagementNatsUrl', { ...fields, fleetManagementNatsUrl: undefined }],
  ['a malformed fleetManagementNatsUrl', { ...fields, fleetManagementNatsUrl: 4222 }],
  ['a malformed fleetManagementNatsUrl', { ...fields, fleetManagementNatsUrl: '\t' }],
])('an answer is refused that has %s', async (what, body) => {
  await expect(ask(JSON.stringify(body))).rejects.toMatchObject({
    code: 'PROVISIONING_ANSWER_INVALID',
    message: `the provisioning server answered ${what}`,
  });
});

test.each([
  undefined,
  null,
  4222,
  '',
  'ws://a',
])('a configured NATS address takes the place of %j', async (answered) => {
  const body = JSON.stringify({ ...fields, fleetManagementNatsUrl: answered });
  // The address passes, and the certificates are looked at.
  await expect(ask(body, 'tls://b:4222')).rejects.toThrow(
    "the answer's certificate is not a readable certificate",
  );
});

test('an answer of HTTP 202 is waited out as long as the server asks, whatever its body', async () => {
  const failure = askedOf({ status: 202, retryAfterMs: 30_000, body: JSON.stringify(fields) });
  await expect(failure).rejects.toMatchObject({
    code: 'PROVISIONING_REJECTED',
    class: 'transient',
    reason: 'http-202',
    retryAfterMs: 30_000,
  });
});

test.each([
  { caCertificate: undefined, ca_certificate: 'CA' },
  { caCertificate: null, ca_certificate: 'CA' },
  { caCertificate: 'C A\n', ca_certificate: 'CA' },
  { caCertificate: 'CA', ca_certificate: null },
  { caCertificate: '', ca_certificate: 'CA' },
  { caCertificate: 'CA', ca_certificate: ' ' },
])('the CA is read from %j', async (spelt) => {
  // The fields pass, and the certificates are looked at.
  await expect(ask(JSON.stringify({ ...fields, ...spelt }))).rejects.toThrow(
    "the answer's certificate is not a readable certificate",
  );
});

test('a CA that is spelt twice and differs is refused', async () => {
  await expect(ask(JSON.stringify({ ...fields, ca_certificate: 'another' }))).rejects.toMatchObject({
    code: 'PROVISIONING_ANSWER_INVALID',
    message: 'the provisioning server answered a caCertificate and a ca_certificate that differ',
  });
});

test('a CA that is spelt twice is no text either way: it is refused as any other', async () => {
  const spelt = (caCertificate: unknown, older: unknown) =>
    ask(JSON.stringify({ ...fields, caCertificate, ca_certificate: older }));
  await expect(spelt(1, 'CA')).rejects.toThrow('a caCertificate and a ca_certificate that differ');
  await expect(spelt(1, 1)).rejects.toThrow('a malformed caCertificate');
});

test('of several servers the refusal names the one that answered', async () => {
  await expect(askedOf({ status: 503, server: 'b.test:80' })).rejects.toThrow(
    'the provisioning server b.test:80 answered HTTP 503',
  );
});

const hour = 3_600_000;
const known = 'tls://nats.fleet:4222';
const foreign = 'tls://nats.elsewhere:4222';
const certificateOf = (key: string, subject: string, lifeMs: number, authority = false, issuer = 'root') =>
  pki.certificatePem({
    ...{ subject, key, issuer, authority, serial: 1 },
    ...{ notBefore: now - hour, notAfter: now + lifeMs },
  });
const rootPem = certificateOf('root', 'root', 1000 * hour, true);
const strangerPem = certificateOf('stranger', 'stranger', 1000 * hour, true, 'stranger');
const rootFingerprint = pki.parseCertificates(rootPem)[0]?.fingerprint ?? '';
const held = (lifeMs: number, more: Partial<Provisioned> = {}): Provisioned => ({
  ...{ certificate: certificateOf('k1', 'd1', lifeMs), caCertificate: rootPem, natsUrl: known },
  ...{ renewAt: new Date(now).toISOString(), opened: false },
  ...more,
});
const signal = new AbortController().signal;
const usual: RequestCertificateOptions = {
  ...{ swarmId: null, commonName: '{id}', natsUrl: null, renewalAt: 0.5 },
  ...{ authenticated: false, fleetCa: null, builtAt: 0 },
};

/** A device with a key, and a provisioning server that certifies it for ten hours. */
function device(changes: Partial<DeviceState> = {}, answer: Record<string, unknown> = {}) {
  const contents = new Map([
    [files.state as string, JSON.stringify({ ...newState('d1'), ...changes })],
    [files.key, pki.keyPem('k1')],
  ]);
  const directory = memoryDirectory(contents);
  const posted: Record<string, unknown>[] = [];
  const tried: Identity[] = [];
  const refusing = new Map<string, Error | 'plain'>();
  const ports = {
    ...{ directory, pki, now: () => now, random: () => 0.5 },
    async post(json: string) {
      posted.push(JSON.parse(json));
      const fields = { certificate: certificateOf('k1', 'd1', 10 * hour), caCertificate: rootPem };
      const body = JSON.stringify({ ...fields, fleetManagementNatsUrl: known, ...answer });
      return { status: 200, contentType: 'application/json', body, serverTime: now, retryAfterMs: null };
    },
    async connect(identity: Identity): Promise<Session> {
      tried.push(identity);
      const refusal = refusing.get(identity.natsUrl);
      if (refusal instanceof Error) throw refusal;
      return { isEncrypted: refusal !== 'plain', close: async () => undefined } as unknown as Session;
    },
  };
  const ask = (options: Partial<RequestCertificateOptions> = {}, isReplacement = false) =>
    requestCertificate(ports, { ...usual, ...options }, { isReplacement }, signal);
  return { ports, contents, posted, tried, refusing, ask, state: () => currentState(directory) };
}
// Issued an hour ago for eleven hours, and renewed at half of them.
const issued = {
  serial: '1',
  notAfter: new Date(now + 10 * hour).toISOString(),
  renewAt: new Date(now + 4.5 * hour).toISOString(),
  opened: false,
};

test('a first certificate is stored, and pins nothing before it has opened NATS', async () => {
  const { ask, state, posted } = device();
  expect(await ask()).toEqual({ ...issued, candidate: null });
  expect(state()).toMatchObject({
    provisioned: { natsUrl: known, renewAt: issued.renewAt, opened: false, caCertificate: rootPem },
    ...{ pinnedCa: null, candidate: null, previous: null },
  });
  expect(Object.keys(posted[0] ?? {})).toEqual(['csr']);
});

test('a certificate whose CA ends first is renewed while the CA lives', async () => {
  const caCertificate = certificateOf('root', 'root', 2 * hour, true);
  const { ask } = device({}, { caCertificate });
  // Half of the three hours from its start to the end of the CA
  const renewAt = new Date(now + 0.5 * hour).toISOString();
  expect(await ask()).toEqual({ ...issued, renewAt, candidate: null });
});

test('the certificate is requested for the common name of the template, with the device id in it', async () => {
  const { ask, posted } = device({}, { certificate: certificateOf('k1', 'fleet/d1/agent', 10 * hour) });
  await ask({ commonName: 'fleet/{id}/agent' });
  expect(JSON.parse(String(posted[0]?.csr))).toEqual({ key: 'k1', commonName: 'fleet/d1/agent' });
});

test('the swarm is named in the request', async () => {
  const { ask, posted } = device();
  await ask({ swarmId: 's1' });
  expect(posted[0]?.swarm_id).toBe('s1');
});

test.each<[string, Partial<DeviceState>, boolean, Partial<RequestCertificateOptions>, number]>([
  ['that is valid is kept', { provisioned: held(hour) }, false, {}, 0],
  ['that is valid and of no use is replaced', { provisioned: held(hour) }, true, {}, 1],
  ['in its last millisecond is kept', { provisioned: held(0) }, false, {}, 0],
  ['that has expired is replaced', { provisioned: held(-1) }, false, {}, 1],
  [
    'for another key is replaced',
    { provisioned: held(hour, { certificate: certificateOf('k2', 'd1', hour) }) },
    false,
    {},
    1,
  ],
  ['that is damaged is replaced', { provisioned: held(hour, { certificate: 'garbage' }) }, false, {}, 1],
  [
    'of a CA that is not allowed is replaced',
    { provisioned: held(hour, { caCertificate: strangerPem }) },
    false,
    { fleetCa: [rootFingerprint] },
    1,
  ],
  ['of a CA that is allowed is kept', { provisioned: held(hour) }, false, { fleetCa: [rootFingerprint] }, 0],
])('a certificate %s', async (_, changes, isReplacement, options, requests) => {
  const { ask, posted } = device(changes);
  const result = await ask(options, isReplacement);
  expect(posted).toHaveLength(requests);
  if (requests > 0) expect(result).toEqual({ ...issued, candidate: null });
  else
    expect(result).toMatchObject({
      ...{ renewAt: changes.provisioned?.renewAt, opened: false, candidate: null, atHand: true },
      notAfter: pki.parseCertificates(changes.provisioned?.certificate ?? '')[0]?.notAfter.toISOString(),
    });
});

const registration = { alias: 'A', at: new Date(now).toISOString(), result: '{}', announced: null };

test('a device that a stranger took forgets all that came from there', async () => {
  const stranger = held(hour, { caCertificate: strangerPem });
  const { ask, state } = device({
    provisioned: stranger,
    pinnedCa: strangerPem,
    registration,
    lastRejection: 'r',
  });
  await ask({ fleetCa: [rootFingerprint] });
  expect(state()).toMatchObject({
    provisioned: { caCertificate: rootPem },
    ...{ pinnedCa: null, registration: null, formerRegistration: null, request: null, lastRejection: null },
    mayBeRegistered: true,
  });
});

test('over plain HTTP another CA than the pinned one is refused, over HTTPS it becomes the pinned one', async () => {
  const changes = { provisioned: held(-1), pinnedCa: strangerPem };
  await expect(device(changes).ask()).rejects.toMatchObject({ code: 'CERTIFICATE_UNTRUSTED' });
  const { ask, state } = device(changes);
  await ask({ authenticated: true });
  expect(state().pinnedCa).toBe(rootPem);
});

test('a first certificate over plain HTTP may come from another CA than the useless one', async () => {
  const useless = held(hour, {
    certificate: certificateOf('k1', 'd1', hour, false, 'stranger'),
    caCertificate: strangerPem,
  });
  const { ask, state } = device({ provisioned: useless });
  await ask({}, true);
  expect(state().provisioned?.caCertificate).toBe(rootPem);
});

test.each<[string, Partial<DeviceState>, Partial<RequestCertificateOptions>, boolean]>([
  [
    'of a device with a pinned CA has to prove itself',
    { provisioned: held(-1), pinnedCa: rootPem },
    {},
    true,
  ],
  ['over HTTPS need not', { provisioned: held(-1), pinnedCa: rootPem }, { authenticated: true }, false],
  ['of a device that pinned nothing need not', { provisioned: held(-1) }, {}, false],
  [
    'is not used if one is configured',
    { provisioned: held(-1), pinnedCa: rootPem },
    { natsUrl: known },
    false,
  ],
  ['of a device that had none need not', { pinnedCa: rootPem }, {}, false],
])('a new NATS address %s', async (_, changes, options, mustProve) => {
  const { ask, state } = device(changes, { fleetManagementNatsUrl: foreign });
  const { candidate, ...dates } = await ask(options);
  expect(candidate).toEqual(mustProve ? expect.objectContaining({ natsUrl: foreign, opened: false }) : null);
  expect(dates).toEqual(issued);
  expect(
    mustProveAddress({ ...newState('d1'), ...changes }, held(hour, { natsUrl: foreign }), {
      ...usual,
      ...options,
    }),
  ).toBe(mustProve);
  if (mustProve) expect(state()).toMatchObject({ provisioned: held(-1) });
});

test('the NATS address that a device knows need not prove itself again', async () => {
  const { ask } = device({ provisioned: held(-1), pinnedCa: rootPem });
  expect((await ask()).candidate).toBeNull();
});

test.each<[unknown, string]>([
  [foreign, foreign],
  ['http://nats.fleet', known],
  ['', known],
  [4222, known],
  [undefined, known],
])('with a configured NATS address, of an answer that names %j, %s is kept', async (answered, kept) => {
  const { ask, state } = device({}, { fleetManagementNatsUrl: answered });
  await ask({ natsUrl: known });
  expect(state().provisioned?.natsUrl).toBe(kept);
});

test('where requests are not allowed, none is sent', async () => {
  const { ask, posted } = device();
  await expect(ask({ isAllowed: false })).rejects.toMatchObject({
    ...{ code: 'CONFIG_INVALID', reason: 'provisioning-off' },
    message: 'AUTOMATIC_PROVISIONING=false: no certificate is requested, and the device needs one',
  });
  expect(posted).toEqual([]);
  await device().ask({ isAllowed: true });
});

test('without a key nothing is requested', async () => {
  const { ask, contents } = device();
  contents.delete(files.key);
  await expect(ask()).rejects.toMatchObject({
    code: 'STATE_CORRUPT',
    message: 'identity.key does not exist',
  });
});

test.each([
  false,
  true,
])('a key that was damaged since the start is no bug, and nothing is requested with it (replacement: %j)', async (isReplacement) => {
  const { ask, contents, posted } = device();
  contents.set(files.key, '');
  await expect(ask({}, isReplacement)).rejects.toMatchObject({
    code: 'STATE_CORRUPT',
    message: 'identity.key is no private key',
  });
  expect(posted).toEqual([]);
});

test('a NATS address that cannot be read is named', async () => {
  const { ask } = device({}, { fleetManagementNatsUrl: 'http://a' });
  await expect(ask()).rejects.toThrow(/answered an invalid fleetManagementNatsUrl: ./);
});

const candidate = held(10 * hour, { natsUrl: `${foreign}, ${known}` });
const proving = { provisioned: held(-1), pinnedCa: rootPem };
const trial = (on: ReturnType<typeof device>) => tryCertificate(on.ports, { ...issued, candidate }, signal);

test('a certificate with a new address is stored once that was opened over TLS', async () => {
  const on = device(proving);
  expect(await trial(on)).toEqual({ ...issued, opened: true });
  expect(on.tried).toEqual([
    {
      ...{ deviceId: 'd1', key: pki.keyPem('k1'), natsUrl: foreign },
      ...{ certificate: candidate.certificate, caCertificate: rootPem },
    },
  ]);
  expect(on.state().provisioned).toEqual({ ...candidate, opened: true });
});

test.each<[string, Error | 'plain', object]>([
  ['refuses', new OnboardingError('NATS_DENIED', 'no'), { code: 'NATS_DENIED', cause: 'no' }],
  ['has no TLS', 'plain', { code: 'NATS_NOT_SECURE', cause: 'the NATS server offers no TLS' }],
])('a certificate whose new address %s is stored with the known one', async (_, refusal, addressRefused) => {
  const on = device(proving);
  on.refusing.set(foreign, refusal);
  expect(await trial(on)).toEqual({ ...issued, addressRefused });
  expect(on.state()).toMatchObject({ provisioned: { ...candidate, natsUrl: known }, pinnedCa: rootPem });
});

test.each([
  new OnboardingError('STATE_UNWRITABLE', 'the disk is full'),
  Object.assign(new Error('a bug'), { code: 'NATS_DENIED' }),
])('what is not the fault of the address ends the trial: $message', async (error) => {
  const on = device(proving);
  on.refusing.set(foreign, error);
  await expect(trial(on)).rejects.toBe(error);
  expect(on.state().provisioned).toEqual(held(-1));
});

test.each([
  ['tls://a:4222,tls://b:4222', 'tls://a:4222', ['tls://b:4222']],
  [' tls://a , tls://b:4222 ', 'tls://a:4222', ['tls://b:4222']],
  ['tls://a:4222', 'tls://a:4222, tls://b:4222', []],
  ['tls://a:4222,', '', ['tls://a:4222']],
  ['tls://u:p@a', 'nats://u:p@a:4222', []],
  ['tls://u:other@a', 'tls://u:p@a', ['tls://u:other@a']],
  ['tls://a', 'tls://token@a', ['tls://a']],
])('of %j the addresses that are not in %j are %j', (list, other, unknown) => {
  expect(unknownAddresses(list, other)).toEqual(unknown);
});

test('a list of known addresses, of which some were left out, has to open as a whole', () => {
  const [a, b] = ['tls://a:4222', 'tls://b:4222'];
  expect(addressesToProve(a, `${a},${b}`)).toEqual([a]);
  expect(addressesToProve(`${b},${a}`, `${a},${b}`)).toEqual([`${b},${a}`]);
  expect(addressesToProve(`${a},${b}`, a)).toEqual([b]);
});

test('the leaf of no certificate is none', () => {
  expect(unexpiredLeaf(pki, null, 'k1', now)).toBeNull();
  expect(unexpiredLeaf(pki, held(0), 'k1', now)?.spkiSha256).toBe('k1');
  expect(unexpiredLeaf(pki, held(-1), 'k1', now)).toBeNull();
  expect(unexpiredLeaf(pki, held(0), 'k2', now)).toBeNull();
});

test.each<[string, number, number, number | undefined, string | null]>([
  ['at the build', now, now, undefined, null],
  ['before the build', now - 1, now, undefined, 'this program was built'],
  ['a minute before the certificate', now, 0, now + 60_000, null],
  ['more than a minute before the certificate', now, 0, now + 60_001, "the certificate's start"],
])('a clock %s', (_, here, builtAt, start, what) => {
  const accepted = start === undefined ? undefined : { notBefore: new Date(start) };
  const check = () => checkClock(here, builtAt, accepted);
  if (what === null) return expect(check).not.toThrow();
  const then = new Date(start ?? builtAt).toISOString();
  expect(check).toThrow(
    expect.objectContaining({
      code: 'CLOCK_WRONG',
      message: `the clock says ${new Date(here).toISOString()}, before ${what}, ${then}`,
    }),
  );
});
