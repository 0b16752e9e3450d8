import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { patience } from '../../support/observabilityHarness.ts';
import { programFile } from '../../support/program.ts';
import { runCommand } from '../../support/runCommand.ts';
import { stopServers, symptoms } from './symptoms.ts';

afterEach(stopServers);

const page = readFileSync(new URL('../../../docs/troubleshooting.md', import.meta.url), 'utf8');
/** Symptom → command → the lines that it shows. */
const entries = new Map(
  page
    .split(/^### /m)
    .slice(1)
    .map((section) => {
      const [title = ''] = section.split('\n');
      const commands = [...section.matchAll(/^`onboardd (\w+)`:\n\n((?: {4}.*\n?)+)/gm)].map(
        ([, command = '', lines = '']) =>
          [
            command,
            lines
              .trimEnd()
              .split('\n')
              .map((line) => line.slice(4)),
          ] as const,
      );
      return [title, commands] as const;
    }),
);
const canBeOffline = spawnSync('unshare', ['-n', 'true']).status === 0;
const pattern = (line: string) =>
  new RegExp(
    `^${line
      .split(/ ?… ?/)
      .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      .join('.*')}$`,
    'm',
  );

test('every entry of the page has its reproduction, and shows a line', () => {
  expect([...entries.keys()]).toEqual(Object.keys(symptoms));
  for (const [title, commands] of entries) expect(commands.length, title).toBeGreaterThan(0);
});

test.each(Object.entries(symptoms))('%s', async (title, make) => {
  const { offline, ...device } = await make();
  if (offline && !canBeOffline) return;
  for (const [command, lines] of entries.get(title) ?? []) {
    const look = async () => {
      if (offline) {
        const args = ['-n', process.execPath, programFile, command, '--config', device.configFile];
        return spawnSync('unshare', args, { encoding: 'utf8' }).stdout;
      }
      const { stdout, stderr } = await runCommand(device, command);
      return stdout + stderr;
    };
    // A failure is logged before it is on disk.
    const wanted = lines.map(pattern);
    await expect.poll(look, patience).toSatisfy((text: string) => wanted.every((line) => line.test(text)));
  }
});
