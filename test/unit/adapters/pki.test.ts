import { rootCertificates } from 'node:tls';
import { expect, test } from 'vitest';
import { isSignedBy, parseCertificates } from '../../../src/adapters/pki.ts';

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
