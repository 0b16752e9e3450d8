import { expect, test } from 'vitest';
import { stageOf } from '../../../src/machines/stage.ts';

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
