import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fleetWithEvents } from '../../support/fleetLogs.ts';
import { newDevice, programFile, temporaryFolder } from '../../support/program.ts';

const mark = '=== next command ===';
const cleared = `${String.fromCharCode(0x1b)}[K`;

/** What each command shows on a terminal of so many columns, without colours: script(1) makes one for all of them. */
function shown(
  columns: number,
  commands: readonly (readonly string[])[],
  env: NodeJS.ProcessEnv = {},
): string[][] {
  const quoted = commands.map((args) => [process.execPath, programFile, ...args].map((word) => `'${word}'`));
  const all = quoted.map((words) => `${words.join(' ')} </dev/null; echo '${mark}'`).join('; ');
  const text = execFileSync('script', ['-qc', `stty cols ${columns} rows 40; ${all}`, '/dev/null'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TERM: 'xterm', NO_COLOR: '1', LC_ALL: 'C.UTF-8', ...env },
  });
  // A bar that is drawn over is not there at the end.
  const lines = text.split(/\r?\n/).map((line) => line.split(cleared).at(-1) ?? '');
  return lines
    .join('\n')
    .split(`${mark}\n`)
    .slice(0, -1)
    .map((part) => part.trimEnd().split('\n'));
}

/** Lines that the terminal itself breaks, but for those of one long word, such as a subject. */
const tooWide = (lines: readonly string[], columns: number) =>
  lines.filter((line) => line.length > columns && line.trim().includes(' '));

const log = join(temporaryFolder(), 'fleet.log');
writeFileSync(log, [...fleetWithEvents(60, 5)].join('\n'));
const periods = '2026-11-20T06:00/2026-11-20T07:00,2026-11-20T11:00/2026-11-20T12:00';
const device = newDevice({ provisioning: { url: 'http://127.0.0.1:1' } });
mkdirSync(device.stateDir, { recursive: true, mode: 0o700 });
const commands = [
  ['--help'],
  ['run', '--help'],
  ['report', '--help'],
  ['status', '--config', device.configFile],
  ['check', '--config', device.configFile],
  ['report', log, '--compare', periods],
  ['explain', 'step.failed', 'NATS_TLS'],
  ['bundle', join(temporaryFolder(), 'bundle.tar.gz'), '--config', device.configFile],
];

test('on a terminal of 60 columns lines end between two words', () => {
  const outputs = shown(60, commands);
  expect(outputs).toHaveLength(commands.length);
  for (const [index, lines] of outputs.entries()) {
    expect(lines.length, commands[index]?.join(' ')).toBeGreaterThan(2);
    expect(tooWide(lines, 60), commands[index]?.join(' ')).toEqual([]);
  }
});

test('in the C locale a terminal is shown ASCII only, and whole tables where there is room', () => {
  const [report = [], status = []] = shown(120, [commands[5] ?? [], commands[3] ?? []], { LC_ALL: 'C' });
  expect([...report, ...status].filter((line) => [...line].some((one) => one > '~'))).toEqual([]);
  expect(report).toContainEqual(expect.stringMatching(/^ {2}device +state +unregistered +last seen/));
});

test('in the C locale the log for people is ASCII, too', () => {
  const envFile = join(temporaryFolder(), 'agent.env');
  writeFileSync(envFile, 'AUTOMATIC_PROVISIONING=false\n');
  // Nothing is requested, so that the device fails for good at once.
  const linesIn = (locale: string) => {
    const { configFile, stateDir } = newDevice({ provisioning: { url: 'http://127.0.0.1:1' } });
    const command = ['run', '--once', '--config', configFile, '--state-dir', stateDir, '--env-file', envFile];
    return shown(120, [command], { LC_ALL: locale, ONBOARDD_LOG_FORMAT: 'pretty' })[0] ?? [];
  };
  const ascii = linesIn('C');
  expect(ascii).toContainEqual(expect.stringMatching(/state\.changed {6}csr -> failed$/));
  expect(ascii.filter((line) => [...line].some((one) => one > '~'))).toEqual([]);
  expect(linesIn('C.UTF-8')).toContainEqual(expect.stringMatching(/state\.changed {6}csr → failed$/));
});
