import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { tailscaleId } from '../../../src/adapters/tailscale.ts';

const folder = mkdtempSync(join(tmpdir(), 'tailscale-'));
afterAll(() => rmSync(folder, { recursive: true }));

function program(script: string): string {
  const path = join(folder, 'tailscale');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

test.each([
  [`[ "$*" = "status --json --peers=false" ] && echo '{"Self":{"ID":"nABC123"}}'`, 'nABC123'],
  [`echo '{"Self":{"ID":""}}'`, null],
  [`echo '{"Self":{"ID":5}}'`, null],
  [`echo '{"Self":null}'`, null],
  ['echo nonsense', null],
  [`echo '{"Self":{"ID":"nABC123"}}'; exit 1`, null],
  ['exec sleep 60', null],
])('of the program %j the id is %j', async (script, id) => {
  expect(await tailscaleId(program(script))).toBe(id);
});

test('a device without Tailscale has none', async () => {
  expect(await tailscaleId(join(folder, 'none'))).toBeNull();
});
