/** What can be wrong with a token: the log, `status` and `check` say it with reason and remedy, and the device goes on by itself. */
import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { reasons } from '../../../src/errors/reasons.ts';
import { failure, launch, onboard } from '../../support/harness.ts';
import { type Device, programFile, runToEnd, temporaryFolder } from '../../support/program.ts';
import { expectNoKeyOnDisk, fleetAndDevice, rewrite, status } from './device.ts';
import { newToken, pin, softHsm } from './softToken.ts';

const registered = (line: { event: string }) => line.event === 'device.registered';

/** What `check` says of the key, and how it ends. */
function checkOf({ configFile }: Device, env: Record<string, string>) {
  const { stdout, status: exit } = runToEnd(['check', '--json', '--config', configFile], env);
  const { checks } = JSON.parse(stdout) as {
    checks: { id: string; verdict: string; reason: string; remedy: string }[];
  };
  return { exit, key: checks.find(({ id }) => id === 'key') };
}

test('a token that is not there is waited for', async () => {
  const token = newToken('another');
  const { device } = await fleetAndDevice(token);
  rewrite(device, { identity: { keyType: token.uri().replace('token=another', 'token=absent') } });
  const program = launch(device, [], token.env);
  const line = await program.until(failure('STATE_UNWRITABLE'));
  expect(line).toMatchObject({ reason: 'token-missing', class: 'transient' });
  expect(line.message).toContain('the token "absent" is not there');
  expect(checkOf(device, token.env)).toMatchObject({
    exit: 1,
    key: { verdict: 'fail', reason: 'token-missing', remedy: reasons['token-missing'].remedy },
  });
  expect(status(device, token.env).lastError).toMatchObject({ reason: 'token-missing' });
  // It is plugged in: the same label from now on.
  token.add('absent');
  await program.until(registered);
});

test('a token that has no user PIN yet is waited for, without a restart', async () => {
  const token = newToken('another');
  const { device } = await fleetAndDevice(token);
  rewrite(device, { identity: { keyType: token.uri().replace('token=another', 'token=absent') } });
  const { setPin } = token.addWithoutPin('absent');
  const program = launch(device, [], token.env);
  const line = await program.until(failure('STATE_UNWRITABLE'));
  expect(line).toMatchObject({ reason: 'token-missing', class: 'transient' });
  expect(line.message).toContain('has no user PIN yet');
  expect(checkOf(device, token.env)).toMatchObject({
    exit: 1,
    key: { verdict: 'fail', reason: 'token-missing', remedy: reasons['token-missing'].remedy },
  });
  setPin();
  await program.until(registered);
});

test('a wrong PIN is tried once, and the right one helps without a restart', async () => {
  const token = newToken();
  const { device } = await fleetAndDevice(token);
  writeFileSync(token.pinFile, '9999\n');
  const program = launch(device, [], token.env);
  const line = await program.until(failure('STATE_UNWRITABLE'));
  expect(line).toMatchObject({ reason: 'token-pin', class: 'permanent' });
  expect(line.message).toContain('refuses the PIN');
  const again = await program.until(
    (one) => failure('STATE_UNWRITABLE')(one) && one.message !== line.message,
  );
  expect(again.message).toContain('it is not tried again');
  expect(checkOf(device, token.env)).toMatchObject({
    exit: 1,
    key: { verdict: 'fail', reason: 'token-pin', remedy: reasons['token-pin'].remedy },
  });
  expect(status(device, token.env)).toMatchObject({ state: 'failed', lastError: { reason: 'token-pin' } });
  writeFileSync(token.pinFile, `${pin}\n`);
  await program.until(registered);
});

test.each([
  ['the module', 'token-module', { module: '/nonexistent/module.so' }],
  ['a module that is none', 'token-module', { module: '/etc/passwd' }],
  ['the file of the PIN', 'token-pin', { pinSource: '/nonexistent/pin' }],
] as const)('%s is missed with reason and remedy', async (_, reason, replaced) => {
  const token = newToken();
  const { device } = await fleetAndDevice(token);
  const { module, pinSource } = { module: softHsm, pinSource: token.pinFile, ...replaced };
  rewrite(device, {
    identity: { keyType: `pkcs11:token=device?module-path=${module}&pin-source=${pinSource}` },
  });
  const program = launch(device, [], token.env);
  expect(await program.until(failure('STATE_UNWRITABLE'))).toMatchObject({ reason });
  expect(checkOf(device, token.env).key).toMatchObject({ verdict: 'fail', reason });
  expect(status(device, token.env).lastError).toMatchObject({ reason });
});

test('without the optional part the package is named', async () => {
  const token = newToken();
  const { device } = await fleetAndDevice(token);
  const bare = temporaryFolder();
  for (const name of ['onboardd.cjs', 'program.cjs'])
    cpSync(join(dirname(programFile), name), join(bare, name));
  const { key } = checkOf(device, token.env);
  expect(key?.verdict).toBe('pass');
  const { stdout } = spawnSync(
    process.execPath,
    [join(bare, 'onboardd.cjs'), 'check', '--json', '--config', device.configFile],
    { encoding: 'utf8', env: { ...process.env, ...token.env } },
  );
  const [found] = JSON.parse(stdout).checks.filter(({ id }: { id: string }) => id === 'key');
  expect(found).toMatchObject({ verdict: 'fail', reason: 'token-module' });
  expect(found.detail).toContain('the package onboardd-pkcs11, for keys in hardware, is not installed');
});

test("without OpenSSL's engine the daemon says so before it asks NATS", async () => {
  const token = newToken();
  const { device } = await fleetAndDevice(token, { query: '&x-engine-path=/nonexistent/pkcs11.so' });
  const program = launch(device, [], token.env);
  const line = await program.until(failure('STATE_UNWRITABLE'));
  expect(line).toMatchObject({ reason: 'token-engine', class: 'transient' });
});

test('a key that is gone from the token is never replaced by itself', async () => {
  const token = newToken();
  const { fleet, device } = await fleetAndDevice(token);
  await onboard(device, token.env);
  for (const type of ['privkey', 'pubkey'])
    token.tool('--delete-object', '--type', type, '--label', 'onboardd');
  const program = launch(device, [], token.env);
  const line = await program.until(failure('STATE_CORRUPT'));
  expect(line).toMatchObject({ reason: 'token-key-missing', class: 'permanent' });
  expect(checkOf(device, token.env)).toMatchObject({
    exit: 1,
    key: { verdict: 'fail', reason: 'token-key-missing', remedy: reasons['token-key-missing'].remedy },
  });
  expect(status(device, token.env)).toMatchObject({
    state: 'failed',
    lastError: { reason: 'token-key-missing' },
  });
  expect(token.privateKeys()).toEqual([]);
  expect(fleet.provisioning.requests).toHaveLength(1);
  program.child.kill('SIGTERM');
  await program.ended;
  expect(runToEnd(['reset', '--keep-id', '--yes', '--config', device.configFile], token.env).status).toBe(0);
  await onboard(device, token.env);
  expect(token.privateKeys()).toEqual(['onboardd']);
});

test('a device with its key in a token gets no other by a setting that names no token', async () => {
  const token = newToken();
  const { fleet, device } = await fleetAndDevice(token);
  await onboard(device, token.env);
  rewrite(device, { identity: { keyType: 'ec-p256' } });
  const program = launch(device);
  const line = await program.until(failure('STATE_CORRUPT'));
  expect(line).toMatchObject({ reason: 'token-key-missing', class: 'permanent' });
  expect(line.cause).toContain('identity.keyType names none');
  program.child.kill('SIGTERM');
  await program.ended;
  expectNoKeyOnDisk(device);
  rewrite(device, { identity: { keyType: token.uri() } });
  await onboard(device, token.env);
  expect(fleet.provisioning.requests).toHaveLength(1);
});

test('a token that goes away while the device is registered is missed, and found again', async () => {
  const token = newToken();
  const { fleet, device } = await fleetAndDevice(token);
  await onboard(device, token.env);
  const away = token.takeOut();
  const program = launch(device, [], token.env);
  expect(await program.until(failure('STATE_UNWRITABLE'))).toMatchObject({ reason: 'token-missing' });
  away.putBack();
  await program.until((line) => line.event === 'state.changed' && line.to === 'registered');
  expect(fleet.provisioning.requests).toHaveLength(1);
  expect(fleet.manager.requests).toHaveLength(1);
});

test('reset changes nothing while the token cannot be reached', async () => {
  const token = newToken();
  const { device } = await fleetAndDevice(token);
  await onboard(device, token.env);
  const away = token.takeOut();
  const refused = runToEnd(['reset', '--yes', '--config', device.configFile], token.env);
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain('the token "device" is not there');
  away.putBack();
  await onboard(device, token.env);
});

test('the PIN of a URI reaches neither log, status, check nor bundle', async () => {
  const token = newToken();
  const secret = 'pin-81726354';
  token.changePin(secret);
  const { device } = await fleetAndDevice(token);
  rewrite(device, { identity: { keyType: token.uri(`pin-value=${secret}`) } });
  const program = await onboard(device, token.env);
  expect(JSON.stringify(program.lines) + program.stderr()).not.toContain(secret);
  const bundle = join(temporaryFolder(), 'bundle.tar.gz');
  for (const args of [['status', '--json'], ['check'], ['bundle', bundle]]) {
    const { stdout, stderr } = runToEnd([...args, '--config', device.configFile], token.env);
    expect(stdout + stderr).not.toContain(secret);
  }
  const text = gunzipSync(readFileSync(bundle)).toString('latin1');
  expect(text).toContain('pin-value=***');
  expect(text).not.toContain(secret);
  // A URI that is wrong is not shown, either.
  rewrite(device, { identity: { keyType: `pkcs11:token=a?pin-value=${secret}&nonsense=1` } });
  const wrong = runToEnd(['run', '--once', '--config', device.configFile], token.env);
  expect(wrong.status).toBe(78);
  expect(wrong.stdout + wrong.stderr).not.toContain(secret);
  expect(wrong.stderr).toContain('unknown attribute; allowed: module-path');
  expectNoKeyOnDisk(device);
  rmSync(bundle);
});
