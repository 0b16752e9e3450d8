import { createPublicKey } from 'node:crypto';
import { rootCertificates } from 'node:tls';
import { CertificationRequest } from 'pkijs';
import { expect, test } from 'vitest';
import { certificateRequest, generateKey, isSignedBy, parseCertificates } from '../../../src/adapters/pki.ts';

test('a text that was read lately is not parsed again, and a caller cannot change what the next one gets', () => {
  const [pem = '', ...others] = rootCertificates.slice(0, 6);
  const first = parseCertificates(pem);
  const [certificate] = first.splice(0);
  const again = parseCertificates(pem);
  expect(again[0]).toBe(certificate);
  expect(again).toHaveLength(1);
  for (const other of others) parseCertificates(other);
  const [anew] = parseCertificates(pem);
  expect(anew).not.toBe(certificate);
  expect(anew).toEqual(certificate);
});

test('certificates that were parsed at different times can be checked against each other', () => {
  const [pem = ''] = rootCertificates;
  const [one] = parseCertificates(pem);
  for (const other of rootCertificates.slice(1, 6)) parseCertificates(other);
  const [two] = parseCertificates(pem);
  expect(one && two && isSignedBy(one, two)).toBe(true);
});

test('a text that cannot be read is refused each time', () => {
  for (let time = 0; time < 2; time++) expect(() => parseCertificates('nonsense')).toThrow(TypeError);
});

test.each([
  'rsa-2048',
  'ec-p256',
  'ec-p384',
] as const)('a request for a key of %s holds that key, and WebCrypto verifies its signature', async (type) => {
  const key = await generateKey(type);
  const pem = await certificateRequest(key, 'a device');
  const [, base64 = ''] = /REQUEST-----([^-]*)-----END/.exec(pem) ?? [];
  const request = CertificationRequest.fromBER(Uint8Array.from(Buffer.from(base64, 'base64')).buffer);
  expect(await request.verify()).toBe(true);
  const spki = Buffer.from(request.subjectPublicKeyInfo.toSchema().toBER());
  expect(spki).toEqual(createPublicKey(key).export({ type: 'spki', format: 'der' }));
});
