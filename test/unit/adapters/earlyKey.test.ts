import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { guessKeyType, takeEarlyKey } from '../../../src/adapters/earlyKey.ts';
import { usualConfig } from '../../simulation/life.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'early-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const config = () => join(folder, 'config.json');
const put = (json: unknown) =>
  writeFileSync(config(), JSON.stringify({ stateDir: folder, ...(json as object) }));
const guess = (args: string[], environment: NodeJS.ProcessEnv = {}) =>
  guessKeyType(['node', 'onboardd', ...args], environment);

test('a daemon without a key needs one of the configured type', () => {
  put({ identity: { keyType: 'ec-p384' } });
  for (const args of [
    ['--config', config()],
    [`--config=${config()}`, '--once'],
  ])
    expect(guess(['run', ...args])).toBe('ec-p384');
  expect(guess(['run', '--config', config()], { ONBOARDD_IDENTITY_KEY_TYPE: 'ec-p256' })).toBe('ec-p256');
});

test('the type that is guessed without a setting is the default', () => {
  put({});
  expect(guess(['run', '--config', config()])).toBe(usualConfig.identity.keyType);
});

test('a device that has a key begins none, wherever its state directory is named', () => {
  const stateDir = join(folder, 'state');
  mkdirSync(stateDir);
  writeFileSync(join(stateDir, 'identity.key'), '');
  put({});
  const run = ['run', '--config', config()];
  expect(guess([...run, '--state-dir', stateDir])).toBeNull();
  expect(guess(run, { ONBOARDD_STATE_DIR: stateDir })).toBeNull();
  put({ stateDir });
  expect(guess(run)).toBeNull();
  writeFileSync(config(), '{}');
  expect(guess(run, { STATE_DIRECTORY: stateDir })).toBeNull();
});

test.each([
  ['status', '{}'],
  ['run --env-file x', '{}'],
  ['run', '{'],
  ['run', 'null'],
  ['run', '{"identity":{"keyType":"dsa"}}'],
  ['run', '{"stateDir":5}'],
])('%s with %s begins no key', (command, text) => {
  writeFileSync(config(), text);
  expect(guess([...command.split(' '), '--config', config()])).toBeNull();
});

test('a process that is not a start of the daemon has no early key', () => {
  expect(takeEarlyKey('ec-p256')).toBeNull();
});
