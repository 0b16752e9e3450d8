import { expect, test } from 'vitest';
import { watchMoments } from '../../../src/daemon/moments.ts';
import type { StateName } from '../../../src/events.ts';

type Step = StateName | 'delivered' | 'renewal' | 'left';

/** What the moments are, one list for each step; `delivered` is `registered` once everything was delivered. */
function momentsOf(...steps: Step[]): string[][] {
  const moments = watchMoments();
  return steps.map((step) => {
    if (step === 'renewal') moments.noteRenewal();
    else if (step === 'left') moments.noteLeft();
    else return moments.next(step === 'delivered' ? 'registered' : step, step === 'delivered');
    return [];
  });
}

test('a device is registered once everything was delivered, and says so once', () => {
  expect(momentsOf('idle', 'registering', 'registered', 'delivered', 'delivered').flat()).toEqual([
    'registered',
  ]);
});

test('a start finds a device registered, and says so', () => {
  expect(momentsOf('idle', 'registered', 'delivered').flat()).toEqual(['registered']);
});

test('a renewal is told once its files are where they belong', () => {
  const steps = [
    'registered',
    'delivered',
    'delivered',
    'renewal',
    'registered',
    'delivered',
    'delivered',
  ] as const;
  expect(momentsOf(...steps)).toEqual([[], ['registered'], [], [], [], ['renewed'], []]);
});

test('a device that looks at its facts has not left; one that asks anew has, and is registered again later', () => {
  const steps = ['delivered', 'idle', 'provisioned', 'registering', 'registered', 'delivered'] as const;
  expect(momentsOf(...steps)).toEqual([['registered'], [], ['left'], [], [], ['registered']]);
  expect(momentsOf('delivered', 'idle', 'registered', 'delivered').flat()).toEqual(['registered']);
});

test('a start that finds the registration left says so', () => {
  expect(momentsOf('idle', 'left', 'provisioned', 'registering').flat()).toEqual(['left']);
});

test('a failure is told at each entry', () => {
  expect(momentsOf('csr', 'failed', 'failed', 'idle', 'failed').flat()).toEqual(['failed', 'failed']);
  expect(momentsOf('delivered', 'failed').flat()).toEqual(['registered', 'left', 'failed']);
});
