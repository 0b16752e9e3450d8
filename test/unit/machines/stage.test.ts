import { expect, test } from 'vitest';
import { type Facts, lackOf, stageOf as stageOfFacts } from '../../../src/machines/stage.ts';

const stageOf = (facts: Omit<Facts, 'candidate'>) => stageOfFacts({ ...facts, candidate: false });

test('a start enters at the earliest step that is not finished', () => {
  expect(stageOf({ key: false, certificate: 'none', result: false })).toBe('keygen');
  expect(stageOf({ key: false, certificate: 'foreign', result: true })).toBe('keygen');
  expect(stageOf({ key: true, certificate: 'none', result: false })).toBe('csr');
  expect(stageOf({ key: true, certificate: 'expired', result: true })).toBe('csr');
  expect(stageOf({ key: true, certificate: 'usable', result: false })).toBe('provisioned');
  expect(stageOf({ key: true, certificate: 'usable', result: true })).toBe('registered');
  expect(stageOf({ key: true, certificate: 'due', result: true })).toBe('renewal');
  expect(stageOf({ key: true, certificate: 'due', result: false })).toBe('provisioned');
});

test('a renewed certificate that could not be tried in time keeps a device registered', () => {
  const facts: Facts = { key: true, certificate: 'expired', result: true, candidate: true };
  expect(stageOfFacts(facts)).toBe('renewal');
  expect(lackOf(facts)).toBeNull();
  expect(stageOfFacts({ ...facts, result: false })).toBe('csr');
  expect(stageOfFacts({ ...facts, certificate: 'foreign' })).toBe('csr');
  expect(stageOfFacts({ ...facts, key: false })).toBe('keygen');
});

test.each<[Partial<Facts>, ReturnType<typeof lackOf>]>([
  [{}, null],
  [{ certificate: 'due' }, null],
  [{ key: false, certificate: 'foreign' }, 'key-lost'],
  [{ certificate: 'none' }, 'certificate-missing'],
  [{ certificate: 'foreign' }, 'certificate-foreign'],
  [{ certificate: 'expired' }, 'certificate-expired'],
  [{ result: false }, 'registration-missing'],
])('what a device lacks to be registered: %j', (facts, lack) => {
  expect(lackOf({ key: true, certificate: 'usable', result: true, candidate: false, ...facts })).toBe(lack);
});
