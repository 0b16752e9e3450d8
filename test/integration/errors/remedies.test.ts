import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { writeDurably } from '../../../src/adapters/disk/durableFile.ts';
import { catalogue } from '../../../src/errors/catalogue.ts';
import { classifyNetworkError } from '../../../src/errors/networkProblem.ts';
import { type ReasonEntry, reasonOfDiskError, reasons, remedyOf } from '../../../src/errors/reasons.ts';
import { reasonOfRejection } from '../../../src/services/onboarding/registrationResult.ts';

const remedyFor = (code: keyof typeof catalogue, reason: Parameters<typeof remedyOf>[1]) =>
  remedyOf(code, reason);

test('only a full disk is advised to free space', () => {
  const advice = (code: string) => remedyFor('STATE_UNWRITABLE', reasonOfDiskError({ code }));
  expect(advice('ENOSPC')).toMatch(/Free space/);
  for (const code of ['EROFS', 'EACCES', 'ENOENT', 'EIO', 'EOTHER'])
    expect(advice(code), code).not.toMatch(/free space/i);
  expect(advice('EROFS')).toMatch(/read-write.*ReadWritePaths/);
  expect(advice('EACCES')).toMatch(/write access/);
});

test('a file that cannot be written has the reason of the disk', () => {
  const folder = mkdtempSync(join(tmpdir(), 'remedies-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'file'), '');
  const failing = () => writeDurably(join(folder, 'file', 'below'), 'text', 0o600);
  expect(failing).toThrow(expect.objectContaining({ code: 'STATE_UNWRITABLE', reason: 'no-such-path' }));
});

test.each([
  ['device already registered', 'already-registered', /Remove the other device|reset/],
  ['quota exceeded', 'quota-exceeded', /^Raise the quota/],
  ['something new', null, /^Resolve the fleet manager's error/],
])('a rejection "%s" has the reason %s', (error, reason, remedy) => {
  expect(reasonOfRejection(error)).toBe(reason);
  const advice = remedyFor('REGISTRATION_REJECTED', reasonOfRejection(error));
  expect(advice).toMatch(remedy);
  if (reason !== 'already-registered') expect(advice).not.toMatch(/id\b|reset/);
});

test('no remedy advises the address of a redirect', () => {
  const advice = remedyFor('PROVISIONING_ANSWER_INVALID', 'redirected');
  expect(advice).toMatch(/captive portal/);
  expect(advice).toMatch(/without a redirect/);
});

test('HTTP 400, 401, 404 and 5xx have remedies without a common sentence', () => {
  const sentences = (['http-400', 'http-401', 'http-404', 'http-500', 'http-503'] as const).flatMap(
    (reason) => remedyFor('PROVISIONING_REJECTED', reason).split(/(?<=\.) /),
  );
  expect(new Set(sentences).size).toBe(sentences.length);
});

test.each([
  ['CERT_HAS_EXPIRED', 'certificate has expired', 'the server certificate has expired (CERT_HAS_EXPIRED)'],
  [
    'ERR_SSL_WRONG_VERSION_NUMBER',
    '00E8:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../deps/openssl/x.c:354:',
    'the server sends something other than TLS, possibly a man in the middle (ERR_SSL_WRONG_VERSION_NUMBER)',
  ],
  ['EPROTO', 'write EPROTO 139:error:0A000412:SSL routines:y', 'the TLS handshake failed'],
  [
    'HPE_INVALID_CONSTANT',
    'Parse Error: Expected HTTP/, RTSP/ or ICE/',
    'the answer is not HTTP (HPE_INVALID_CONSTANT)',
  ],
])('a message holds the code %s and no text of OpenSSL or the HTTP parser', (code, message, detail) => {
  const error = Object.assign(new Error(message), { code });
  expect(classifyNetworkError(error, 'provisioning').detail).toBe(detail);
});

test('causes and remedies are single lines of ASCII, remedies imperative sentences', () => {
  const texts = [...Object.values(catalogue), ...Object.values<ReasonEntry>(reasons)].flatMap(
    ({ cause, remedy }) => [cause, ...[remedy].flat()],
  );
  expect(texts.filter((text) => !/^[\x20-\x7e]+$/.test(text))).toEqual([]);
});
