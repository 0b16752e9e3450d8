import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { launch } from '../../support/harness.ts';
import { newDevice, temporaryFolder } from '../../support/program.ts';
import { runCommandIn } from '../../support/runCommand.ts';

const unreachable = { provisioning: { url: 'http://127.0.0.1:9' } };

/** An environment as the service manager gives it, in which these programs are all that can be started. */
function supervised(programs: Record<string, string>) {
  const folder = temporaryFolder();
  for (const [name, script] of Object.entries(programs)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  const sent = join(folder, 'sent');
  const told = () => (existsSync(sent) ? readFileSync(sent, 'utf8') : '');
  return { env: { PATH: folder, NOTIFY_SOCKET: join(folder, 'socket'), SENT: sent }, told };
}

test('without flock the daemon is ready, and says why it does nothing else', async () => {
  const { env, told } = supervised({ 'systemd-notify': 'echo "$@" >> "$SENT"' });
  const program = launch(newDevice(unreachable), [], env);
  const { cause } = await program.until(
    ({ event, code }) => event === 'step.failed' && code === 'STATE_UNWRITABLE',
  );
  expect(cause).toMatch(/cannot lock .*: flock: .*ENOENT/);
  await vi.waitFor(() => expect(told()).toMatch(/^READY=1 STATUS=idle/m), 10_000);
});

test('without flock check fails, and says what to install', async () => {
  const { env } = supervised({});
  const { status, stdout } = await runCommandIn(env, newDevice(unreachable), 'check');
  expect(status).toBe(1);
  expect(stdout).toMatch(/^fail {2}state-directory .*cannot be locked: flock: .*ENOENT/m);
  expect(stdout).toMatch(/Install flock/);
});

test('without systemd-notify and Perl the daemon works, and says once that nobody is told', async () => {
  const flock = ['/usr/bin/flock', '/bin/flock'].find(existsSync) ?? 'flock';
  const { env } = supervised({ flock: `exec ${flock} "$@"` });
  const program = launch(newDevice(unreachable), [], env);
  await program.until(({ event, code }) => event === 'step.failed' && code === 'PROVISIONING_UNREACHABLE');
  const { cause } = await program.until(({ event }) => event === 'supervisor.unreachable');
  expect(cause).toMatch(/systemd-notify cannot be started: .*ENOENT/);
  program.child.kill('SIGTERM');
  expect(await program.ended).toBe(0);
  expect(program.lines.filter(({ event }) => event === 'supervisor.unreachable')).toHaveLength(1);
});

test.runIf(existsSync('/proc/self/comm'))('the process is named onboardd', async () => {
  const program = launch(newDevice(unreachable));
  await program.until(({ event }) => event === 'daemon.started');
  expect(readFileSync(`/proc/${program.child.pid}/comm`, 'utf8')).toBe('onboardd\n');
  expect(readFileSync(`/proc/${program.child.pid}/cmdline`, 'utf8')).toMatch(/^onboardd\0/);
});

/** Whether somebody has read the file since its access time was set to 1970 */
const isRead = (path: string) => statSync(path).atimeMs > 0;
function markUnread(path: string): void {
  utimesSync(path, 0, statSync(path).mtimeMs / 1000);
}
function keepsAccessTimes(): boolean {
  const path = join(temporaryFolder(), 'file');
  writeFileSync(path, 'text');
  markUnread(path);
  readFileSync(path);
  return isRead(path);
}

const hasAccessTimes = keepsAccessTimes();

/** A program that has just read a wrong configuration, and the file that makes it wrong */
async function misread() {
  const device = newDevice(unreachable);
  const folder = device.configFile.replace(/json$/, 'd');
  mkdirSync(folder);
  const wrong = join(folder, '10-wrong.json');
  writeFileSync(wrong, '{"nonsense": 1}');
  markUnread(wrong);
  const program = launch(device, [], supervised({ 'systemd-notify': 'exit 0' }).env);
  await vi.waitFor(() => expect(isRead(wrong)).toBe(true), { timeout: 10_000, interval: 5 });
  return { wrong, program };
}

test.runIf(hasAccessTimes)(
  'a configuration that is corrected while systemd starts the daemon is taken',
  async () => {
    const { wrong, program } = await misread();
    writeFileSync(wrong, '{}');
    await program.until(({ event }) => event === 'daemon.started');
    expect(program.lines.map(({ event }) => event)).not.toContain('device.failed');
  },
);

test.runIf(hasAccessTimes)('a stop while a wrong configuration is looked at again is a stop', async () => {
  const { program } = await misread();
  program.child.kill('SIGTERM');
  expect(await program.ended).toBe(0);
  expect(program.lines.map(({ event }) => event)).toEqual(['daemon.stopped']);
});

test('a wrong configuration that stays wrong ends a daemon that systemd started with 78', async () => {
  const program = launch(newDevice({ ...unreachable, nonsense: 1 }), [], supervised({}).env);
  expect(await program.ended).toBe(78);
});
