import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test, vi } from 'vitest';
import { reasons } from '../../../src/errors/reasons.ts';
import { at, fleetWith, launch } from '../../support/harness.ts';
import { patience, registered } from '../../support/observabilityHarness.ts';
import { newDevice, programFile, runToEnd, start, temporaryFolder } from '../../support/program.ts';
import { runCommand, runCommandIn } from '../../support/runCommand.ts';

test('status gives a verdict first, then state, history, certificate and whether the daemon runs', async () => {
  const device = at(await fleetWith());
  const before = await runCommand(device, 'status');
  expect(before).toMatchObject({ status: 3 });
  expect(before.stdout).toMatch(
    /^Not registered: the daemon is not running, and no earlier start is recorded\. Fix: Start it: `systemctl start onboardd`\.\n(?:.*\n)*waiting for +the daemon to be started .*; no earlier start is recorded$/m,
  );
  const program = launch(device);
  await program.until(registered);
  const { status, stdout } = await runCommand(device, 'status');
  expect(status).toBe(0);
  expect(stdout).toMatch(/^Registered as \S+; certificate valid for 36\d d\n/);
  expect(stdout).toMatch(/^state +registered for \S+ m?s, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/m);
  expect(stdout).toMatch(/^waiting for +certificate renewal in \d+ d/m);
  expect(stdout).toMatch(/^certificate +CN=.*registration_agent, valid for 36\d d/m);
  expect(stdout).toMatch(
    /^history +idle .* (?:->|→) keygen .* (?:->|→) registering \S+ m?s (?:->|→) registered$/m,
  );
  expect(stdout).toMatch(/^daemon +running$/m);
  program.child.kill('SIGTERM');
  await program.ended;
  expect((await runCommand(device, 'status')).stdout).toMatch(/^daemon +not running$/m);
  expect(JSON.parse((await runCommand(device, 'status', '--json')).stdout)).toMatchObject({ running: false });
});

test('status says in one line what a failing device waits for, and the remedy', async () => {
  const fleet = await fleetWith();
  fleet.provisioning.behave = () => ({ status: 503 });
  const device = at(fleet, { retry: { initialMs: 60_000, maxMs: 60_000, factor: 1, failedAfterMs: 0 } });
  await launch(device).until(({ event }) => event === 'step.failed');
  await expect
    .poll(async () => (await runCommand(device, 'status')).stdout, patience)
    .toMatch(/^waiting for +next attempt in \S+ m?s, at .* UTC \(attempt \d+ failed\)$/m);
  const { stdout } = await runCommand(device, 'status');
  expect(stdout).toMatch(
    /^Not registered: waiting for the provisioning server \(PROVISIONING_REJECTED: .*overloaded.*\); next attempt in /,
  );
  expect(stdout).toMatch(/^last error +PROVISIONING_REJECTED: .*503\b.* \(\S+ m?s ago\)$/m);
  expect(stdout).toContain(reasons['http-503'].remedy);
  const { lastError } = JSON.parse((await runCommand(device, 'status', '--json')).stdout);
  expect(lastError).toMatchObject({ code: 'PROVISIONING_REJECTED', reason: 'http-503' });
});

test('status says what to do about a state that it cannot read', async () => {
  const device = at(await fleetWith());
  mkdirSync(device.stateDir);
  writeFileSync(join(device.stateDir, 'state.json'), '{"version":99}');
  const { status, stderr } = await runCommand(device, 'status');
  expect(status).toBe(3);
  expect(stderr).toMatch(/STATE_CORRUPT: .* version 99.*; remedy: .*newer version.*; daemon: not running/);
});

test('a damaged history costs nothing but itself', async () => {
  const device = at(await fleetWith());
  await launch(device, ['--once']).ended;
  const file = join(device.stateDir, 'status.json');
  const published = JSON.parse(readFileSync(file, 'utf8'));
  expect(published.history).toHaveLength(5);
  const visit = { state: 'csr', at: '2026-01-01T00:00:00Z', durationMs: 5 };
  for (const [history, kept] of [
    [undefined, []],
    ['rubbish', []],
    [[1, null, { state: 'csr' }, { ...visit, state: 'no' }, visit, { ...visit, durationMs: -1 }], [visit]],
    [Array(10_000).fill(visit), [visit]],
  ]) {
    writeFileSync(file, JSON.stringify({ ...published, history }));
    const { status, stdout } = await runCommand(device, 'status', '--json');
    expect(status).toBe(0);
    expect(JSON.parse(stdout).history).toEqual(kept);
  }
});

test('status --watch follows the device and ends by Ctrl-C', async () => {
  const device = at(await fleetWith());
  const child = spawn(process.execPath, [
    programFile,
    'status',
    '--watch',
    '--json',
    '--config',
    device.configFile,
  ]);
  const seen: { state: string; running: boolean }[] = [];
  const output = createInterface({ input: child.stdout });
  const sees = (state: string, isRunning: boolean) =>
    expect.poll(() => seen.at(-1), patience).toMatchObject({ state, running: isRunning });
  output.on('line', (line) => seen.push(JSON.parse(line)));
  await sees('idle', false);
  const program = launch(device);
  await sees('registered', true);
  program.child.kill('SIGTERM');
  await sees('registered', false);
  child.kill('SIGINT');
  const [code] = await once(child, 'exit');
  expect(code).toBe(0);
  expect(seen.length).toBeLessThan(20);
});

test('status --watch --plain says a change in one line, without control characters', async () => {
  const device = at(await fleetWith());
  const child = spawn(process.execPath, [
    ...[programFile, 'status', '--watch', '--plain', '--config', device.configFile],
  ]);
  let text = '';
  child.stdout.on('data', (more) => {
    text += more;
  });
  await expect.poll(() => text, patience).toContain('daemon ');
  const first = text.length;
  const program = launch(device);
  await expect.poll(() => text.slice(first), patience).toMatch(/^Registered/m);
  program.child.kill('SIGTERM');
  await expect.poll(() => text.slice(first), patience).toContain('the daemon is not running');
  child.kill('SIGINT');
  await once(child, 'exit');
  expect(text.slice(first).trimEnd().split('\n')).toSatisfy((lines: string[]) =>
    lines.every((line) => /^(Registered|Not registered)/.test(line)),
  );
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  expect(text).not.toMatch(/[\x00-\x09\x0b-\x1f]/);
});

/** A folder as systemd makes it for `RuntimeDirectory=`. */
function runtimeDirectory() {
  const folder = temporaryFolder();
  chmodSync(folder, 0o755);
  const file = join(folder, 'status.json');
  return {
    environment: { RUNTIME_DIRECTORY: folder },
    file,
    read: () => JSON.parse(readFileSync(file, 'utf8')),
  };
}

test('the status is published for everybody, without secrets, and stays after a stop', async () => {
  const device = at(await fleetWith());
  const { environment, file, read } = runtimeDirectory();
  const program = start(device, [], environment);
  await program.until(registered);
  await expect.poll(() => read().state, patience).toBe('registered');
  expect(statSync(file).mode & 0o777).toBe(0o644);
  const flag = join(file, '../registered');
  await expect.poll(() => existsSync(flag), patience).toBe(true);
  const { stdout } = runToEnd(['status', '--json', '--config', device.configFile], environment);
  expect(read()).toEqual(JSON.parse(stdout));
  expect(readFileSync(file, 'utf8')).not.toMatch(/PRIVATE|BEGIN|token/);
  program.child.kill('SIGTERM');
  await program.ended;
  expect(read()).toEqual({ ...JSON.parse(stdout), running: false });
  expect(existsSync(flag)).toBe(false);
});

test('an export that cannot be written is told by status, check, metrics and the published status alike, until it can', async () => {
  const [place, metrics] = [join(temporaryFolder(), 'not-a-folder'), join(temporaryFolder(), 'x.prom')];
  writeFileSync(place, '');
  const { environment, read } = runtimeDirectory();
  const device = at(await fleetWith(), {
    exports: { deviceId: join(place, 'id.txt') },
    metrics: { textfile: metrics },
  });
  const program = start(device, [], environment);
  const { cause, code, reason } = await program.until(({ event }) => event === 'export.failed');
  expect({ code, reason }).toEqual({ code: 'STATE_UNWRITABLE', reason: 'no-such-path' });
  const problem = { code, reason, message: `deviceId is not exported: ${cause}` };
  await program.until(registered);
  await expect.poll(() => read(), patience).toMatchObject({ state: 'registered', problems: [problem] });
  const look = async (command: string) =>
    JSON.parse((await runCommand(device, command, '--json')).stdout) as Record<string, unknown>;
  vi.stubEnv('RUNTIME_DIRECTORY', environment.RUNTIME_DIRECTORY);
  onTestFinished(() => void vi.unstubAllEnvs());
  expect(await look('status')).toMatchObject({ state: 'registered', problems: [problem] });
  const { checks } = (await look('check')) as { checks: { id: string }[] };
  expect(checks.find(({ id }) => id === 'exports')).toMatchObject({ verdict: 'fail', code, reason });
  expect(readFileSync(metrics, 'utf8')).toContain('onboardd_exports_failing 1\n');
  rmSync(place);
  program.child.kill('SIGHUP');
  await expect.poll(() => read().problems, patience).toEqual([]);
  expect(readFileSync(metrics, 'utf8')).toContain('onboardd_exports_failing 0\n');
});

test('a runtime directory that cannot be written hides no error of the daemon', async () => {
  const fleet = await fleetWith();
  fleet.provisioning.behave = () => ({ status: 503 });
  const device = at(fleet, { retry: { initialMs: 60_000, maxMs: 60_000, factor: 1, failedAfterMs: 0 } });
  const environment = { RUNTIME_DIRECTORY: join(temporaryFolder(), 'gone') };
  const program = start(device, [], environment);
  await program.until(({ event }) => event === 'step.failed');
  expect(program.lines.filter(({ key }) => key === 'RUNTIME_DIRECTORY')).toMatchObject([
    { event: 'config.warning', message: expect.stringContaining('ENOENT') },
  ]);
  const look = () =>
    JSON.parse(runToEnd(['status', '--json', '--config', device.configFile], environment).stdout);
  await expect.poll(look, patience).toMatchObject({
    lastError: { code: 'PROVISIONING_REJECTED', reason: 'http-503' },
    problems: [{ code: 'STATE_UNWRITABLE', reason: 'no-such-path' }],
  });
});

test('a state that cannot be read has the code and remedy of check, as JSON too', async () => {
  const device = at(await fleetWith());
  writeFileSync(device.stateDir, 'no folder');
  const { status, stdout, stderr } = await runCommand(device, 'status', '--json');
  expect(status).toBe(3);
  expect(stderr).toMatch(/^onboardd: CONFIG_INVALID: stateDir is .*; remedy: .*; daemon: not running\n$/);
  expect(JSON.parse(stdout)).toMatchObject({
    ...{ state: null, deviceId: null, lastError: null, running: false },
    problems: [{ code: 'CONFIG_INVALID', message: expect.stringContaining('stateDir is') }],
  });
});

test('the status is published although the configuration is invalid', async () => {
  const device = newDevice({ provisioning: { url: 'http://user:secret@/' } });
  const { environment, read } = runtimeDirectory();
  expect(await start(device, [], environment).ended).toBe(78);
  expect(read()).toMatchObject({
    state: 'failed',
    running: false,
    deviceId: null,
    lastError: { code: 'CONFIG_INVALID', message: expect.stringContaining('provisioning.url') },
  });
  expect(JSON.stringify(read())).not.toContain('secret');
});

test('after a start that ended with an invalid configuration status tells so, until the next start', async () => {
  const device = at(await fleetWith());
  const { environment } = runtimeDirectory();
  const valid = readFileSync(device.configFile, 'utf8');
  const look = (...args: string[]) => runToEnd([...args, '--config', device.configFile], environment);
  for (const isRegistered of [false, true]) {
    writeFileSync(device.configFile, '{"nonsense": 1}');
    expect(await start(device, [], environment).ended).toBe(78);
    expect(look('status').stdout.match(/nonsense is 1/g)).toHaveLength(3);
    writeFileSync(device.configFile, valid);
    const { stdout } = look('status');
    expect(stdout).toMatch(isRegistered ? /^Registered as/ : /^Not registered: the daemon is not running/);
    expect(stdout).toMatch(/; last error CONFIG_INVALID: nonsense is 1.* Fix: If the configuration has been/);
    expect(stdout).not.toContain('recorded');
    // Beside the fleet, which runs in this process and has to answer.
    const { stdout: checked } = await runCommandIn(environment, device, 'check');
    expect(checked).toMatch(/^fail +registration .* CONFIG_INVALID: .*nonsense is 1/m);
    const { lastError } = JSON.parse(look('status', '--json').stdout);
    expect(lastError).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(await start(device, ['--once'], environment).ended).toBe(0);
    expect(look('status').stdout).not.toContain('CONFIG_INVALID');
  }
});

test('the status is published although the state directory cannot be made', async () => {
  const device = at(await fleetWith(), { stateDir: join(temporaryFolder(), 'x'.repeat(300)) });
  const { environment, read } = runtimeDirectory();
  await start(device, [], environment).until(({ event }) => event === 'step.failed');
  await expect
    .poll(() => read(), patience)
    .toMatchObject({ state: 'idle', lastError: { code: 'STATE_UNWRITABLE' } });
});

test('a status that cannot be published is never in the way', async () => {
  const device = at(await fleetWith(), { log: { format: 'json', level: 'debug' } });
  const program = start(device, ['--once'], { RUNTIME_DIRECTORY: '/nonexistent' });
  expect(await program.ended).toBe(0);
  expect(program.lines).toContainEqual(
    expect.objectContaining({ event: 'config.warning', key: 'RUNTIME_DIRECTORY' }),
  );
});

test('a reset forgets the published status', async () => {
  const device = at(await fleetWith());
  const { environment, file } = runtimeDirectory();
  expect(await start(device, ['--once'], environment).ended).toBe(0);
  expect(existsSync(file)).toBe(true);
  expect(runToEnd(['reset', '--yes', '--config', device.configFile], environment).status).toBe(0);
  expect(existsSync(file)).toBe(false);
});

test.runIf(process.getuid?.() === 0)('another user sees the published status', async () => {
  const device = at(await fleetWith());
  const { environment } = runtimeDirectory();
  const program = start(device, [], environment);
  await program.until(registered);
  chmodSync(join(device.stateDir, '..'), 0o755);
  const ask = async (...args: string[]) => {
    const child = spawn(process.execPath, [programFile, 'status', ...args, '--config', device.configFile], {
      ...{ uid: 65534, gid: 65534, cwd: '/' },
      env: { ...process.env, ...environment },
    });
    let stdout = '';
    child.stdout.on('data', (text) => {
      stdout += text;
    });
    const [status] = await once(child, 'close');
    return { status, stdout };
  };
  expect(await ask()).toMatchObject({ status: 0, stdout: expect.stringMatching(/^state +registered for /m) });
  expect(JSON.parse((await ask('--json')).stdout)).toMatchObject({ state: 'registered', running: true });
});

test.runIf(process.getuid?.() === 0)(
  'another user learns who may read the state, and that the daemon runs',
  async () => {
    const device = at(await fleetWith());
    await launch(device).until(registered);
    chmodSync(join(device.stateDir, '..'), 0o755);
    const child = spawn(process.execPath, [programFile, 'status', '--config', device.configFile], {
      uid: 65534,
      gid: 65534,
      cwd: '/',
    });
    let stderr = '';
    child.stderr.on('data', (text) => {
      stderr += text;
    });
    const [status] = await once(child, 'close');
    expect(stderr).toMatch(/only root can read it; remedy: Run `sudo onboardd status`; daemon: running/);
    expect(status).toBe(3);
  },
);
