import { expect, test } from 'vitest';
import type { Configured } from '../../../src/cli/options.ts';
import { settledConfiguration } from '../../../src/cli/settledConfiguration.ts';

const usable = { config: {} } as unknown as Configured;
const wrong = (...problems: string[]): Configured => ({ problems });

/** Reads one configuration after the other, the last one for ever. @returns the outcome, and what it did */
async function settle(...states: Configured[]) {
  const did: string[] = [];
  const outcome = await settledConfiguration(
    async () => {
      did.push('read');
      return (states.length > 1 ? states.shift() : states[0]) as Configured;
    },
    async () => did.push('pause'),
  );
  return { outcome, did: did.join(' ') };
}

test('a valid configuration is read once, without a pause', async () => {
  expect(await settle(usable)).toEqual({ outcome: usable, did: 'read' });
});

test('one that becomes valid while it is looked at is taken', async () => {
  expect(await settle(wrong('url'), usable)).toEqual({ outcome: usable, did: 'read pause read' });
});

test('one that says the same twice is refused', async () => {
  expect(await settle(wrong('url', 'alias'))).toEqual({
    outcome: wrong('url', 'alias'),
    did: 'read pause read',
  });
});

test('one that is being written is read until nothing changes', async () => {
  const { outcome, did } = await settle(wrong('url', 'alias'), wrong('alias'), usable);
  expect(outcome).toBe(usable);
  expect(did).toBe('read pause read pause read');
});

test('one that never holds still is refused after ten readings', async () => {
  const { outcome, did } = await settle(
    ...Array.from({ length: 20 }, (_, index) => wrong(`problem ${index}`)),
  );
  expect(outcome).toEqual(wrong('problem 9'));
  expect(did.match(/read/g)).toHaveLength(10);
});
