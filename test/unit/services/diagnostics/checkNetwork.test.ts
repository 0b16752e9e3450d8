import { expect, test } from 'vitest';
import { parseNatsAddresses } from '../../../../src/config/natsAddress.ts';
import { observedFailure } from '../../../../src/errors/networkProblem.ts';
import { remedyOf } from '../../../../src/errors/reasons.ts';
import { checkNames, checkNats, judgeAnswer } from '../../../../src/services/diagnostics/checkNetwork.ts';

const answer = { contentType: null, location: null };

test.each([
  [401, 'PROVISIONING_REJECTED', 'http-401'],
  [403, 'PROVISIONING_REJECTED', 'http-403'],
  [407, 'PROVISIONING_REJECTED', 'http-407'],
  [429, 'PROVISIONING_REJECTED', 'http-429'],
  [500, 'PROVISIONING_REJECTED', 'http-500'],
  [511, 'PROVISIONING_REJECTED', 'http-511'],
  [302, 'PROVISIONING_ANSWER_INVALID', 'redirected'],
] as const)('a GET that is answered by HTTP %i fails with %s for the reason %s', (status, code, reason) => {
  const finding = judgeAnswer('fleet.example', { ...answer, status });
  expect(finding).toMatchObject({ verdict: 'fail', code, reason, remedy: remedyOf(code, reason) });
  expect(finding.detail).toMatch(/^the provisioning server fleet\.example: .* \(HTTP \d+\)$/);
});

test.each([
  200, 204, 400, 404, 405, 415, 501,
])('a GET that is answered by HTTP %i says nothing against a POST', (status) => {
  expect(judgeAnswer('fleet.example', { ...answer, status })).toMatchObject({
    verdict: 'pass',
    reason: null,
  });
});

test('a redirect names the server that it leads to, without its path', () => {
  const location = 'https://user:secret@elsewhere.example/path?secret';
  const { detail } = judgeAnswer('fleet.example', { ...answer, status: 301, location });
  expect(detail).toContain('the server redirects to https://elsewhere.example (HTTP 301)');
  expect(detail).not.toContain('secret');
});

test('a web page in place of an answer is a portal', () => {
  const page = { status: 200, contentType: 'text/html', location: null };
  expect(judgeAnswer('fleet.example', page)).toMatchObject({
    code: 'PROVISIONING_ANSWER_INVALID',
    reason: 'captive-portal',
  });
});

test('one NATS server that lets the device in is enough, and the others are told', async () => {
  const addresses = parseNatsAddresses('one:4222,two:4222');
  const finding = await checkNats(addresses, 'required', {
    serverInfo: async ({ host }) => {
      if (host === 'one') throw observedFailure('refused', 'nats', 'the NATS server one');
      return { version: '2.10.0', tlsAvailable: true, jetstream: true };
    },
    subscribe: async () => undefined,
  });
  expect(finding).toMatchObject({ verdict: 'pass', code: null, reason: null });
  expect(finding.detail).toMatch(/also: the NATS server one: connection refused$/);
});

test('a failure keeps the code and the reason that were thrown, and a bug is not taken for one', async () => {
  const [host, server] = ['fleet.example', 'nats'] as const;
  const names = (thrown: unknown) => checkNames([{ host, server }], () => Promise.reject(thrown));
  const failure = observedFailure('dns', 'nats', host);
  await expect(names(failure)).rejects.toBe(failure);
  const bug = new TypeError('x is not a function');
  const nats = checkNats(parseNatsAddresses('one:4222'), 'required', {
    serverInfo: () => Promise.reject(bug),
    subscribe: null,
  });
  await expect(nats).rejects.toBe(bug);
});
