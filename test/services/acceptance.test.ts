import { expect, test } from 'vitest';
import { acceptCertificate } from '../../src/services/acceptCertificate.ts';
import { files, type StateDirectory } from '../../src/services/deviceState.ts';
import { resume } from '../../src/services/resume.ts';
import * as pki from '../sim/pki.ts';

const now = Date.UTC(2026, 10, 23);
const day = 86_400_000;
const subject = '/fleet/d1/agent';
const fields = { key: 'k1', issuer: 'root', authority: false, serial: 1, subject };
const root = { key: 'root', issuer: 'root', authority: true, serial: 0, subject: 'root' };
const caCertificate = pki.certificatePem({ ...root, notBefore: 0, notAfter: now + 9999 * day });

/** What becomes of a certificate, by the code; null: accepted. */
function codeOf(life: { notBefore: number; notAfter: number }, here: number, server: number | null) {
  const certificate = pki.certificatePem({ ...fields, ...life });
  const expected = { publicKey: 'k1', deviceId: 'd1', commonName: subject, trusted: null };
  try {
    acceptCertificate(pki, { certificate, caCertificate }, { ...expected, now: here, serverTime: server });
    return null;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

const valid = { notBefore: now - day, notAfter: now + day };
const expired = { notBefore: now - 20 * day, notAfter: now - day };
test.each<[string, typeof valid, number, number | null, string | null]>([
  ['valid by both clocks', valid, now, now, null],
  ['valid by both, though the clocks disagree', valid, now - 3_600_000, now, null],
  ['valid by the server’s clock alone', valid, now - 5 * day, now, 'CLOCK_WRONG'],
  ['expired, and made valid by a clock that is behind', expired, now - 5 * day, now, 'CLOCK_WRONG'],
  ['expired by both', expired, now, now, 'CERTIFICATE_EXPIRED'],
  ['expired, and the server tells no time', expired, now, null, 'CERTIFICATE_EXPIRED'],
])('a certificate %s', (_, life, here, server, code) => {
  expect(codeOf(life, here, server)).toBe(code);
});

function directoryOf(stored: Map<string, string>): StateDirectory {
  return {
    read: (name) => stored.get(name) ?? null,
    write: (name, text) => void stored.set(name, text),
    refresh: (name, text) => void stored.set(name, text),
    restrict: () => undefined,
    setAside(name) {
      stored.delete(name);
      return `${name}.damaged-1`;
    },
  };
}

function start(stored: Map<string, string>) {
  const machine = () => ({ hardware: null, installation: null });
  const ports = { pki, now: () => now, machine, newId: () => 'f-f', onDamage: () => {} };
  return resume({ directory: directoryOf(stored), ...ports }, null);
}

test('half a device id beside a damaged state is not taken for the whole', () => {
  const id = '0123456789abcdef0123456789abcdef';
  const damaged = (deviceId: string) =>
    new Map<string, string>([
      [files.state, '{"version":1,'],
      [files.key, pki.keyPem('k1')],
      [files.deviceId, deviceId],
    ]);
  expect(() => start(damaged(id.slice(0, 16)))).toThrow(/device id is nowhere else/);
  const whole = damaged(id);
  expect(start(whole).stage).toBe('csr');
  expect(JSON.parse(whole.get(files.state) ?? '')).toMatchObject({ deviceId: id, mayBeAccepted: true });
});
