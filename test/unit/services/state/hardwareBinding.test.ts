import { expect, test } from 'vitest';
import type { OnboardingError } from '../../../../src/errors/onboardingError.ts';
import { resume } from '../../../../src/services/onboarding/resume.ts';
import { files, newState, parseState } from '../../../../src/services/state/deviceState.ts';
import { type HardwareId, isClone } from '../../../../src/services/state/hardwareBinding.ts';
import * as pki from '../../../simulation/pki.ts';
import { memoryDirectory } from '../../../support/memoryDirectory.ts';

const board = (hardware: string | null, installation: string | null): HardwareId => ({
  hardware,
  installation,
});

test.each([
  ['the same machine', board('a', '1'), board('a', '1'), false],
  ['a system installed anew on the same board', board('a', '1'), board('a', '2'), false],
  ['an image copied to another board', board('a', '1'), board('b', '1'), true],
  ['a copied system where the hardware tells nothing', board(null, '1'), board(null, '2'), true],
  ['a machine that tells nothing', board('a', '1'), board(null, null), false],
  ['a board that told nothing before', board(null, '1'), board('a', '1'), false],
])('%s', (_, bound, here, expected) => {
  expect(isClone(bound, here)).toBe(expected);
});

function start(here: HardwareId, stored: Map<string, string>) {
  const directory = memoryDirectory(stored);
  const ports = {
    directory,
    pki,
    now: () => 0,
    machine: () => here,
    randomUUID: () => 'f-f',
    onQuarantined: () => {},
    onLeft: () => {},
    onReplaced: () => {},
  };
  return resume(ports, null);
}

test('a state that came from another machine is refused and left as it is', () => {
  const stored = new Map<string, string>();
  start(board('a', '1'), stored);
  stored.set(files.key, pki.keyPem('k1'));
  const before = new Map(stored);
  let thrown: unknown;
  try {
    start(board('b', '1'), stored);
  } catch (error) {
    thrown = error;
  }
  expect((thrown as OnboardingError).code).toBe('STATE_CLONED');
  expect(stored).toEqual(before);
  expect(start(board('a', '1'), stored).stage).toBe('csr');
});

test('resuming tells the id of the device, a new one and a known one', () => {
  const stored = new Map<string, string>();
  expect(start(board('a', '1'), stored)).toMatchObject({ stage: 'keygen', deviceId: 'ff' });
  const known = new Map([[files.state as string, JSON.stringify(newState('d1'))]]);
  expect(start(board('a', '1'), known)).toMatchObject({ stage: 'keygen', deviceId: 'd1' });
});

test('a state of an earlier version is bound to the machine that sees it first', () => {
  const { machine: _, ...old } = newState('d1');
  const stored = new Map([[files.state as string, JSON.stringify(old)]]);
  start(board('a', null), stored);
  expect(parseState(stored.get(files.state) ?? '').machine).toEqual(board('a', null));
  start(board(null, '1'), stored);
  expect(parseState(stored.get(files.state) ?? '').machine).toEqual(board('a', '1'));
});
