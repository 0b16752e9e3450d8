import { expect, test } from 'vitest';
import { requestCertificate } from '../../../src/services/onboarding/requestCertificate.ts';
import { files, newState, type StateDirectory } from '../../../src/services/state/deviceState.ts';
import * as pki from '../../sim/pki.ts';

const now = Date.UTC(2026, 10, 23);

test('a provisioning answer that is nested beyond measure is refused before it is read', async () => {
  const contents: Record<string, string> = {
    [files.state]: JSON.stringify(newState('d1', now)),
    [files.key]: pki.keyPem('k1'),
  };
  const directory = { read: (name: string) => contents[name] ?? null } as StateDirectory;
  const body = `{"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
  const asked = requestCertificate(
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
      natsUrl: null,
      renewalAt: 0.8,
      authenticated: false,
      fleetCa: null,
      builtAt: 0,
    },
    { again: false },
    new AbortController().signal,
  );
  await expect(asked).rejects.toMatchObject({
    code: 'PROVISIONING_ANSWER_INVALID',
    message: expect.stringContaining('no JSON ('),
  });
});
