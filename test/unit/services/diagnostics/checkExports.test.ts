import { expect, test } from 'vitest';
import { problemFor } from '../../../../src/errors/reasons.ts';
import { checkExports } from '../../../../src/services/diagnostics/checkExports.ts';
import { type Status, statusOf } from '../../../../src/services/diagnostics/status.ts';
import * as reader from '../../../simulation/pki.ts';

const fresh = statusOf(null, () => null, { reader, version: '1', running: true });
const certificate: Status['certificate'] = { subject: 'CN=d1', notBefore: '', notAfter: '', renewAt: null };
const readOnly = problemFor('STATE_UNWRITABLE', 'read-only', 'token is not exported: it failed');
const denied = problemFor('STATE_UNWRITABLE', 'no-permission', 'alias is not exported: it failed');

test('without exports and without a failure there is nothing to say', () => {
  expect(checkExports(fresh, 0)).toBeNull();
});

test('exports of a device without a certificate are skipped, of another they pass', () => {
  expect(checkExports(fresh, 1)).toMatchObject({ verdict: 'skip' });
  expect(checkExports({ ...fresh, certificate }, 2)).toMatchObject({
    verdict: 'pass',
    detail: '2 configured',
  });
});

test('files that the daemon cannot write fail, all of them named, with the first reason and each remedy once', () => {
  expect(checkExports({ ...fresh, certificate, problems: [readOnly, denied, readOnly] }, 2)).toEqual({
    ...{ verdict: 'fail', code: 'STATE_UNWRITABLE', reason: 'read-only' },
    remedy: `${readOnly.remedy} ${denied.remedy}`,
    detail:
      'token is not exported: it failed; alias is not exported: it failed; token is not exported: it failed',
  });
});

test('a metrics file that the daemon cannot write fails without any export, too', () => {
  expect(checkExports({ ...fresh, problems: [readOnly] }, 0)).toMatchObject({ verdict: 'fail' });
});
