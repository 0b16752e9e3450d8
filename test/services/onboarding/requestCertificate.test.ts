import { expect, test } from 'vitest';
import type { Issued } from '../../../src/machines/onboarding.ts';
import { requestCertificate } from '../../../src/services/onboarding/requestCertificate.ts';
import { files, newState, type StateDirectory } from '../../../src/services/state/deviceState.ts';
import * as pki from '../../sim/pki.ts';

const now = Date.UTC(2026, 10, 23);

/** Asks once, and is answered this. */
function ask(body: string, natsUrl: string | null = null): Promise<Issued> {
  const contents: Record<string, string> = {
    [files.state]: JSON.stringify(newState('d1', now)),
    [files.key]: pki.keyPem('k1'),
  };
  const directory = { read: (name: string) => contents[name] ?? null } as StateDirectory;
  return requestCertificate(
    {
      directory,
      pki: { ...pki, certificateRequest: async () => 'csr' },
      post: async () => ({ status: 200, contentType: null, body, serverTime: null, retryAfterMs: null }),
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
    { again: false },
    new AbortController().signal,
  );
}

test('a provisioning answer that is nested beyond measure is refused before it is read', async () => {
  const body = `{"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
  await expect(ask(body)).rejects.toMatchObject({
    code: 'PROVISIONING_ANSWER_INVALID',
    message: expect.stringContaining('no JSON ('),
  });
});

const fields = { certificate: 'C', caCertificate: 'CA', fleetManagementNatsUrl: 'tls://a:4222' };

test.each([
  ['no JSON object (no content type, 2 characters)', []],
  ['no JSON object (no content type, 4 characters)', null],
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
    "the answer's certificate holds no readable certificate",
  );
});

test('a configured NATS address does not excuse one that is empty', async () => {
  const body = JSON.stringify({ ...fields, fleetManagementNatsUrl: '' });
  await expect(ask(body, 'tls://b:4222')).rejects.toThrow('a malformed fleetManagementNatsUrl');
});
