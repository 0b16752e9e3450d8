import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readAgentConfig, readAgentEnvironment } from '../../../src/adapters/configFile.ts';
import { hostNameIn } from '../../../src/adapters/host.ts';

const folder = mkdtempSync(join(tmpdir(), 'agent-files-'));
afterAll(() => rmSync(folder, { recursive: true }));

const pipe = join(folder, 'pipe');
const sparse = join(folder, 'sparse');

test('a pipe, a device, a folder or a huge file in the place of a file is refused and blocks nobody', async () => {
  execFileSync('mkfifo', [pipe]);
  mkdirSync(join(folder, 'folder'));
  execFileSync('truncate', ['-s', '2M', sparse]);
  for (const path of [pipe, '/dev/zero', join(folder, 'folder'), sparse]) {
    expect(() => readAgentEnvironment(path), path).toThrow(/regular file|longer than|EISDIR/);
    await expect(readAgentConfig(path), path).rejects.toThrow(/regular file|longer than|EISDIR/);
    expect(hostNameIn(path)).toBeNull();
  }
});
