import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { runtimeStatus } from '../../../src/adapters/runtimeStatus.ts';
import { statusOf } from '../../../src/services/diagnostics/status.ts';
import * as reader from '../../simulation/pki.ts';

const fresh = statusOf(null, () => null, { reader, version: '1', running: true });

test('a runtime directory that cannot be written is said once, and the status goes into the state directory', () => {
  const noted: string[] = [];
  const said: string[] = [];
  const { write } = runtimeStatus(
    { RUNTIME_DIRECTORY: '/nonexistent' },
    (text) => void noted.push(text),
    (...what) => void said.push(what.join(': ')),
  );
  write({ ...fresh, deviceId: 'd1' });
  write({ ...fresh, deviceId: 'd1', attempt: 2 });
  expect(said).toEqual([expect.stringMatching(/^\/nonexistent\/status\.json: ENOENT/)]);
  expect(noted).toHaveLength(2);
  expect(JSON.parse(noted[1] ?? '')).toMatchObject({
    attempt: 2,
    problems: [
      {
        ...{ code: 'STATE_UNWRITABLE', reason: 'no-such-path' },
        message: expect.stringMatching(/^cannot write \/nonexistent\/status\.json: ENOENT/),
      },
    ],
  });
});

test('a status of no device goes into no state directory', () => {
  const noted: string[] = [];
  runtimeStatus({ RUNTIME_DIRECTORY: '/nonexistent' }, (text) => void noted.push(text)).write(fresh);
  expect(noted).toEqual([]);
});

test('with a runtime directory nothing goes into the state directory', () => {
  const folder = mkdtempSync(join(tmpdir(), 'run-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const noted: string[] = [];
  runtimeStatus({ RUNTIME_DIRECTORY: folder }, (text) => void noted.push(text)).write({
    ...fresh,
    deviceId: 'd1',
  });
  expect(noted).toEqual([]);
  expect(JSON.parse(readFileSync(join(folder, 'status.json'), 'utf8'))).toMatchObject({ deviceId: 'd1' });
});

test('text of the fleet in the published status changes the reading of no terminal', () => {
  const folder = mkdtempSync(join(tmpdir(), 'runtime-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const alias = 'Alpha\u202e\u009b31m';
  runtimeStatus({ RUNTIME_DIRECTORY: folder }).write({ ...fresh, alias });
  const text = readFileSync(join(folder, 'status.json'), 'utf8');
  expect(text).toMatch(/^[\x20-\x7e]+\n$/);
  expect(JSON.parse(text)).toMatchObject({ alias });
});
