import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** A few kills and a few power cuts, with the commands of the slower suites. `.ci/run` has more of them, and the other suites. */
const smokeRuns: [suite: string, args: string[]][] = [
  ['crash/crash.ts', ['--singles', '4', '--pairs', '2']],
  ['powerLoss/powerLoss.ts', ['--starts', '5']],
];

async function run(suite: string, args: readonly string[]): Promise<{ status: unknown; output: string }> {
  const file = fileURLToPath(new URL(suite, import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', file, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
  const [status] = await once(child, 'close');
  return { status, output };
}

test.each(smokeRuns)('a smoke run of %s passes', async (suite, args) => {
  const { status, output } = await run(suite, args);
  expect(status, output).toBe(0);
});

test('a program that did not sync its files would be found', async () => {
  const { status, output } = await run('powerLoss/powerLoss.ts', [
    '--starts',
    '0',
    '--without',
    'syncFolder',
  ]);
  expect(status).toBe(1);
  expect(output).toContain('before the folder was synced after the rename to identity.key');
});
