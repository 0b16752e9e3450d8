import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { systemdSealer } from '../../../src/adapters/keys/sealedKeys.ts';
import { remedyOf } from '../../../src/errors/reasons.ts';
import { files } from '../../../src/services/state/deviceState.ts';

const folders: string[] = [];
afterEach(() => {
  vi.unstubAllEnvs();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** @param script what systemd-creds does; null: it is not installed */
function systemdCredsThat(script: string | null): void {
  const folder = mkdtempSync(join(tmpdir(), 'creds-'));
  folders.push(folder);
  vi.stubEnv('PATH', folder);
  if (script === null) return;
  writeFileSync(join(folder, 'systemd-creds'), `#!/bin/sh\n${script}\n`);
  chmodSync(join(folder, 'systemd-creds'), 0o755);
}

test.each([
  ['is not installed', null],
  ['is killed', 'kill -9 $$'],
  ['finds the TPM busy', 'echo "WARNING: Esys: tpm:warn(2.0): try again" >&2; echo "Failed" >&2; exit 1'],
  ['is short of something', 'echo "Failed to decrypt: Resource temporarily unavailable" >&2; exit 1'],
])('a key is not given up while systemd-creds %s', (_, script) => {
  systemdCredsThat(script);
  expect(() => systemdSealer('host').unseal(files.key, 'sealed')).toThrow(
    expect.objectContaining({ code: 'STATE_UNWRITABLE', class: 'transient', reason: 'unseal-failed' }),
  );
  expect(remedyOf('STATE_UNWRITABLE', 'unseal-failed')).not.toContain('reset');
});

test('a key that systemd-creds refuses to open is a permanent failure, in its words', () => {
  systemdCredsThat('echo "Failed to decrypt: Bad message" >&2; exit 1');
  expect(() => systemdSealer('host').unseal(files.key, 'sealed')).toThrow(
    expect.objectContaining({
      code: 'STATE_CORRUPT',
      class: 'permanent',
      reason: 'key-sealed',
      message: `${files.key} is sealed and cannot be opened: Failed to decrypt: Bad message`,
    }),
  );
});
