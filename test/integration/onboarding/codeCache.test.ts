import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import type { Fleet } from '../../../fleet/fleet.ts';
import { at, fleetWith } from '../../support/harness.ts';
import { programFile, temporaryFolder } from '../../support/program.ts';

let folder: string;
let fleet: Fleet;
/** A build for coverage has no launcher. */
const isWhole = statSync(programFile).size > 100_000;
const cache = () => join(folder, 'program.cache');
beforeEach(async () => {
  folder = temporaryFolder();
  for (const name of ['onboardd.cjs', 'program.cjs'])
    cpSync(join(dirname(programFile), name), join(folder, name));
  fleet = await fleetWith();
});

/** Onboards a new device with the copy of the program */
async function onboardOnce(): Promise<void> {
  const device = at(fleet);
  const args = [join(folder, 'onboardd.cjs'), 'run', '--once', '--config', device.configFile];
  // The fleet answers in this process.
  const child = spawn(process.execPath, args, { stdio: 'ignore' });
  const [status] = await once(child, 'exit');
  expect(status).toBe(0);
}

test.skipIf(isWhole)('an onboarding leaves a code cache, and the next one uses it as it is', async () => {
  await onboardOnce();
  const made = readFileSync(cache());
  expect(readdirSync(folder).sort()).toEqual(['onboardd.cjs', 'program.cache', 'program.cjs']);
  await onboardOnce();
  expect(readFileSync(cache()).equals(made)).toBe(true);
});

test.skipIf(isWhole).each<[string, () => void]>([
  [
    'is damaged',
    () => writeFileSync(cache(), Buffer.from(readFileSync(cache())).fill(0x55, 100_000, 100_100)),
  ],
  ['is cut short', () => writeFileSync(cache(), readFileSync(cache()).subarray(0, 100_000))],
  ['is empty', () => writeFileSync(cache(), '')],
  ['everybody could write', () => chmodSync(cache(), 0o666)],
  ['is of another bundle of the same length', replaceBundle],
])('a code cache that %s is not used, and is made anew', async (_, spoil) => {
  await onboardOnce();
  spoil();
  const spoilt = fingerprint();
  await onboardOnce();
  const remade = fingerprint();
  expect(remade).not.toEqual(spoilt);
  await onboardOnce();
  expect(fingerprint()).toEqual(remade);
});

/** Content and rights; a file that was made anew has another number. */
function fingerprint() {
  const { ino, mode } = statSync(cache());
  return { ino, mode, digest: createHash('sha256').update(readFileSync(cache())).digest('hex') };
}

function replaceBundle(): void {
  const bundle = join(folder, 'program.cjs');
  const text = readFileSync(bundle);
  rmSync(bundle);
  writeFileSync(bundle, text);
}

test('a command that is no onboarding leaves no code cache', () => {
  spawnSync(process.execPath, [join(folder, 'onboardd.cjs'), '--version']);
  expect(existsSync(cache())).toBe(false);
});

test('a folder that cannot be written stays without a code cache', async () => {
  // A folder in its place: root may write anywhere.
  mkdirSync(`${cache()}.tmp`);
  await onboardOnce();
  expect(existsSync(cache())).toBe(false);
});
