/** SIGKILL while the token makes a key, or moves one: at changes that the token makes on its disk, and before each label. */
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { type FSWatcher, watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { launch, onboard, state } from '../../support/harness.ts';
import { programFile, type Running, temporaryFolder } from '../../support/program.ts';
import { certificateOf, expectNoKeyOnDisk, fleetAndDevice } from './device.ts';
import { newToken, pkcs11js, type SoftToken } from './softToken.ts';

/**
 * Kills the program at the n-th change of a key in the token's folder. SoftHSM does not survive a kill while it writes its own
 * `token.object`, at a login: that is no matter of ours, and not counted.
 *
 * @returns whether there were so many
 */
async function killAtChange(token: SoftToken, program: Running, n: number): Promise<boolean> {
  let watcher: FSWatcher | undefined;
  let changes = 0;
  const reached = new Promise<true>((resolve) => {
    watcher = watch(token.objects(), (_, name) => {
      if (name === null || /^(token\.|generation$)/.test(name)) return;
      changes++;
      if (changes === n) resolve(true);
    });
  });
  const how = await Promise.race([
    reached,
    program.until((line) => line.event === 'certificate.renewed'),
    program.ended,
  ]);
  watcher?.close();
  program.child.kill('SIGKILL');
  await program.ended;
  return how === true;
}

test.each([
  1, 2, 3, 5, 8, 12,
])('a kill at change %i of a generation leads to one device with one key', async (n) => {
  const token = newToken();
  const { fleet, device } = await fleetAndDevice(token);
  await killAtChange(token, launch(device, ['--once'], token.env), n);
  await onboard(device, token.env);
  expect(token.privateKeys()).toEqual(['onboardd']);
  expect(token.publicKeys()).toHaveLength(1);
  const ids = fleet.provisioning.requests.map(({ id }) => id);
  expect(new Set(ids).size).toBe(1);
  expect(new Set(fleet.manager.requests.map(({ id }) => id)).size).toBe(1);
  expectNoKeyOnDisk(device);
});

test.each([
  1, 3, 6, 9, 12, 16,
])('a kill at change %i of a rotation leaves a device that opens NATS', async (n) => {
  const token = newToken();
  const { fleet, device } = await fleetAndDevice(token, {
    firstLifeMs: 60_000,
    config: { renewal: { at: 0.05, newKey: true } },
  });
  const program = launch(device, [], token.env);
  await program.until((line) => line.event === 'device.registered');
  const isCut = await killAtChange(token, program, n);
  const again = launch(device, [], token.env);
  if (isCut) await again.until((line) => line.event === 'certificate.renewed');
  await expect.poll(() => token.privateKeys()).toEqual(['onboardd', 'onboardd.previous']);
  expect(new X509Certificate(certificateOf(device).raw).publicKey.asymmetricKeyType).toBe('ec');
  expect(fleet.manager.requests).toHaveLength(1);
  again.child.kill('SIGKILL');
  await again.ended;
  await onboard(device, token.env);
  expectNoKeyOnDisk(device);
});

/** Lines of pkcs11-tool for each private and public key, whole or not */
function keysOf(token: SoftToken): string[] {
  return ['privkey', 'pubkey'].flatMap((type) =>
    [...token.tool('--list-objects', '--type', type).matchAll(/^ *label:.*$/gm)].map(([line]) => line.trim()),
  );
}

// SoftHSM changes the length of the public key's file in the first half, of the private key's in the second.
test.each([
  4, 12, 36, 50,
])('a kill at write %i of a key that SoftHSM makes leaves nothing of it', async (n) => {
  const token = newToken();
  const { device } = await fleetAndDevice(token);
  const inject = ['-e', 'trace=ftruncate', '-e', `inject=ftruncate:signal=SIGKILL:when=${n}`];
  const run = [process.execPath, programFile, 'run', '--once', '--config', device.configFile];
  const env = { ...process.env, ...token.env };
  spawnSync('strace', ['-f', '-qq', '-o', '/dev/null', ...inject, ...run], { env, stdio: 'ignore' });
  const left = keysOf(token);
  expect(left).toContain('label:');
  expect(left).not.toContain('label:      onboardd');
  await onboard(device, token.env);
  expect(keysOf(token)).toEqual(['label:      onboardd', 'label:      onboardd']);
});

/** @returns for the environment: the program is killed before the n-th label that it gives to half a key */
function killBeforeLabel(n: number): { readonly NODE_OPTIONS: string } {
  const file = join(temporaryFolder(), 'kill.cjs');
  writeFileSync(
    file,
    `const { PKCS11 } = require(${JSON.stringify(pkcs11js)});
    const relabel = PKCS11.prototype.C_SetAttributeValue;
    let calls = 0;
    PKCS11.prototype.C_SetAttributeValue = function (...args) {
      if (++calls === ${n}) process.kill(process.pid, 'SIGKILL');
      return relabel.apply(this, args);
    };`,
  );
  return { NODE_OPTIONS: `--require=${file}` };
}

// Two for the first key, and in a rotation two each for the next one, the previous one, and the one in use.
test.each([
  1, 2, 3, 4, 5, 6, 7, 8,
])('a kill before label %i of an onboarding and a rotation loses no key', async (n) => {
  const token = newToken();
  const { fleet, device } = await fleetAndDevice(token, {
    firstLifeMs: 60_000,
    config: { renewal: { at: 0.05, newKey: true } },
  });
  const program = launch(device, [], { ...token.env, ...killBeforeLabel(n) });
  expect(await program.ended).toBe('SIGKILL');
  const again = launch(device, [], token.env);
  await expect.poll(() => state(device).previous, { timeout: 30_000 }).not.toBeNull();
  const seldom = { interval: 500, timeout: 10_000 };
  await expect.poll(() => token.privateKeys(), seldom).toEqual(['onboardd', 'onboardd.previous']);
  expect(token.publicKeys()).toEqual(['onboardd', 'onboardd.previous']);
  expect(again.lines.filter((line) => line.event === 'step.failed')).toEqual([]);
  expect(new Set(fleet.provisioning.requests.map(({ id }) => id)).size).toBe(1);
  again.child.kill('SIGKILL');
  await again.ended;
  await onboard(device, token.env);
  expectNoKeyOnDisk(device);
});
