import { expect, test } from 'vitest';
import { watchMoments } from '../../../src/daemon/moments.ts';
import type { StateName } from '../../../src/events.ts';

type Step = StateName | 'delivered' | 'renewal' | 'rollback' | 'failure' | 'left';

/** What the moments are, one list for each step; `delivered` is `registered` once everything was delivered. */
function momentsOf(...steps: Step[]): string[][] {
  const moments = watchMoments();
  return steps.map((step) => {
    if (step === 'renewal') moments.noteEmitted('certificate.renewed');
    else if (step === 'rollback') moments.noteEmitted('certificate.rolled-back');
    else if (step === 'failure') moments.noteEmitted('step.failed');
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

test('a certificate that is brought back is told like a renewed one, a failure is not', () => {
  expect(momentsOf('delivered', 'rollback', 'registered', 'delivered').flat()).toEqual([
    'registered',
    'renewed',
  ]);
  expect(momentsOf('delivered', 'failure', 'registered', 'delivered').flat()).toEqual(['registered']);
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
