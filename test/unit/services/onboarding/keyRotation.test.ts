import { expect, test } from 'vitest';
import { type KeyFacts, type KeyStep, keySteps } from '../../../../src/services/onboarding/keyRotation.ts';

const none: KeyFacts = { key: null, next: null, previous: null, inUse: null, rollback: null };

/** Each row: keys on disk, key of the certificate in use, key of the one before, and what is done. */
const rows: [string, Partial<KeyFacts>, KeyStep[]][] = [
  ['a new device', {}, []],
  ['a device with a key and no certificate', { key: 'A' }, []],
  ['the usual device', { key: 'A', inUse: 'A' }, []],
  ['after a renewal for the same key', { key: 'A', inUse: 'A', rollback: 'A' }, []],
  ['a renewal is under way', { key: 'A', next: 'B', inUse: 'A' }, []],
  [
    'a renewal is under way, and the last one may be rolled back',
    { key: 'B', next: 'C', previous: 'A', inUse: 'B', rollback: 'A' },
    [],
  ],
  [
    'switched in the state, and no further',
    { key: 'A', next: 'B', inUse: 'B', rollback: 'A' },
    ['key becomes previous', 'next becomes key', 'drop next'],
  ],
  [
    'switched, and the old key is kept',
    { key: 'A', next: 'B', previous: 'A', inUse: 'B', rollback: 'A' },
    ['next becomes key', 'drop next'],
  ],
  [
    'switched, over an older key',
    { key: 'B', next: 'C', previous: 'A', inUse: 'C', rollback: 'B' },
    ['key becomes previous', 'next becomes key', 'drop next'],
  ],
  [
    'switched, and the new key is in place',
    { key: 'B', next: 'B', previous: 'A', inUse: 'B', rollback: 'A' },
    ['drop next'],
  ],
  [
    'switched when the old certificate had expired',
    { key: 'A', next: 'B', inUse: 'B' },
    ['next becomes key', 'drop next'],
  ],
  [
    'switched when the old certificate had expired, beside an older key',
    { key: 'B', next: 'C', previous: 'A', inUse: 'C' },
    ['drop previous', 'next becomes key', 'drop next'],
  ],
  ['a rollback is possible', { key: 'B', previous: 'A', inUse: 'B', rollback: 'A' }, []],
  [
    'the new certificate was verified, and no further',
    { key: 'B', previous: 'A', inUse: 'B' },
    ['drop previous'],
  ],
  [
    'rolled back in the state, and no further',
    { key: 'B', previous: 'A', inUse: 'A' },
    ['previous becomes key', 'drop previous'],
  ],
  ['rolled back, and the old key is in place', { key: 'A', previous: 'A', inUse: 'A' }, ['drop previous']],
  [
    'rolled back while the next renewal is under way',
    { key: 'B', next: 'C', previous: 'A', inUse: 'A' },
    ['previous becomes key', 'drop previous'],
  ],
  [
    'the key is lost after the switch in the state',
    { next: 'B', inUse: 'B', rollback: 'A' },
    ['next becomes key', 'drop next'],
  ],
  [
    'the key is lost, and the one before can be brought back',
    { previous: 'A', inUse: 'B', rollback: 'A' },
    ['roll back', 'previous becomes key', 'drop previous'],
  ],
  ['the key is lost, and there is nothing else', { inUse: 'A' }, []],
  ['the key is lost during a renewal', { next: 'B', inUse: 'A' }, []],
  ['the certificate is of another key', { key: 'A', inUse: 'X' }, []],
];

test.each(rows)('%s', (_, facts, steps) => {
  expect(keySteps({ ...none, ...facts })).toEqual(steps);
});

/** The facts after a step. */
function after(facts: KeyFacts, step: KeyStep): KeyFacts {
  switch (step) {
    case 'roll back':
      return { ...facts, inUse: facts.rollback, rollback: null };
    case 'key becomes previous':
      return { ...facts, previous: facts.key };
    case 'next becomes key':
      return { ...facts, key: facts.next };
    case 'previous becomes key':
      return { ...facts, key: facts.previous };
    case 'drop next':
      return { ...facts, next: null };
    case 'drop previous':
      return { ...facts, previous: null };
  }
}

const settle = (facts: KeyFacts) => keySteps(facts).reduce(after, facts);

test('whatever the disk holds: cut off after any step, the same keys are left in the end, and none in use is lost', () => {
  const names = [null, 'A', 'B', 'C'];
  let interrupted = 0;
  for (const key of names)
    for (const next of names)
      for (const previous of names)
        for (const inUse of names)
          for (const rollback of names) {
            // A next key is made at random: it is none that was in use before.
            if (next !== null && next === previous) continue;
            const facts = { key, next, previous, inUse, rollback };
            const end = settle(facts);
            expect(keySteps(end), JSON.stringify(facts)).toEqual([]);
            const atHand = [key, next, previous];
            if (inUse !== null && atHand.includes(inUse)) expect(end.key, JSON.stringify(facts)).toBe(inUse);
            else if (key !== null) expect(end.key).toBe(key);
            let cut: KeyFacts = facts;
            for (const step of keySteps(facts)) {
              cut = after(cut, step);
              interrupted++;
              expect(settle(cut), `${JSON.stringify(facts)}, ${step}`).toEqual(end);
            }
          }
  expect(interrupted).toBeGreaterThan(500);
});
