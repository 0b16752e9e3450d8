import { expect, test } from 'vitest';
import {
  type HttpAnswer,
  requestCertificate,
} from '../../../../src/services/onboarding/requestCertificate.ts';
import { files, newState, type StateDirectory } from '../../../../src/services/state/deviceState.ts';
import * as pki from '../../../simulation/pki.ts';

const now = Date.UTC(2026, 10, 23);

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
  [418, 'PROVISIONING_REJECTED', 'permanent', 'http-4xx'],
  [429, 'PROVISIONING_REJECTED', 'transient', 'http-429'],
  [503, 'PROVISIONING_REJECTED', 'transient', 'http-503'],
  [511, 'PROVISIONING_REJECTED', 'transient', 'http-511'],
  [599, 'PROVISIONING_REJECTED', 'transient', 'http-5xx'],
  [307, 'PROVISIONING_ANSWER_INVALID', 'transient', 'redirected'],
])('an answer of HTTP %i is %s, %s, for the reason %s', async (status, code, kind, reason) => {
  await expect(askedOf({ status })).rejects.toMatchObject({ code, class: kind, reason });
});

test('a web page in place of an answer is a portal, and other text is not', async () => {
  const page = { body: '<html>log in</html>' };
  const of = (contentType: string | null) => askedOf({ ...page, contentType });
  await expect(of('text/html; charset=utf-8')).rejects.toMatchObject({
    code: 'PROVISIONING_ANSWER_INVALID',
    reason: 'captive-portal',
  });
  await expect(of('text/plain')).rejects.toMatchObject({ code: 'PROVISIONING_ANSWER_INVALID', reason: null });
});

test('an HTTP error shows what the server said on one line, cut to 300 characters, without control characters', async () => {
  const messageOf = async (body: string, contentType: string | null = 'application/json') =>
    String((await askedOf({ status: 400, body, contentType }).catch((error) => error)).message);
  const answered = 'the provisioning server answered HTTP 400';
  expect(await messageOf('{"error":"swarm_id is mandatory"}')).toBe(
    `${answered}: {"error":"swarm_id is mandatory"}`,
  );
  expect(await messageOf('a\u001b[31m\n\tb')).toBe(`${answered}: a [31m b`);
  expect(await messageOf('x'.repeat(10_000))).toHaveLength(answered.length + 2 + 300);
  expect(await messageOf('<html>no</html>', 'text/html')).toBe(answered);
  expect(await messageOf('')).toBe(answered);
});

const ask = (body: string, natsUrl: string | null = null) => askedOf({ body }, natsUrl);
const fields = { certificate: 'C', caCertificate: 'CA', fleetManagementNatsUrl: 'tls://a:4222' };

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

test.each([undefined, null, 4222])('a configured NATS address takes the place of %j', async (answered) => {
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

test('of several servers the refusal names the one that answered', async () => {
  await expect(askedOf({ status: 503, server: 'b.test:80' })).rejects.toThrow(
    'the provisioning server b.test:80 answered HTTP 503',
  );
});

test('a configured NATS address does not excuse one that is empty', async () => {
  const body = JSON.stringify({ ...fields, fleetManagementNatsUrl: '' });
  await expect(ask(body, 'tls://b:4222')).rejects.toThrow('a malformed fleetManagementNatsUrl');
});
