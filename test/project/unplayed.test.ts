import { expect, test } from 'vitest';
import { unplayed } from '../support/unplayed.ts';

const results = (...tests: [fullName: string, status: string][]) =>
  JSON.stringify({
    testResults: [{ assertionResults: tests.map(([fullName, status]) => ({ fullName, status })) }],
  });

test('a smoke run names what no test passed under, and passes nothing that tested nothing', () => {
  const some = results(['a wrong PIN is named', 'passed'], ['a restart finds the key', 'skipped']);
  expect(unplayed(some, ['a wrong PIN'])).toEqual([]);
  expect(unplayed(some, ['a wrong PIN', 'a restart finds', 'reset'])).toEqual(['a restart finds', 'reset']);
  expect(unplayed(some, [])).toEqual([]);
  expect(unplayed(results(['a wrong PIN is named', 'skipped']), [])).toEqual(['(any)']);
});
