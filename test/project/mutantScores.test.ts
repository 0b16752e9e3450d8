import { expect, test } from 'vitest';
import { scoresOf } from '../../scripts/mutantScores.ts';

const module = (...statuses: string[]) => ({ mutants: statuses.map((status) => ({ status })) });

test('a module scores what was found of its mutants, and the lowest comes first', () => {
  const files = {
    'a.ts': module('Killed', 'Timeout', 'Killed', 'Survived'),
    'b.ts': module('Killed', 'NoCoverage', 'Survived'),
  };
  expect(scoresOf({ files })).toEqual([
    { file: 'b.ts', mutants: 3, found: 1, score: 100 / 3 },
    { file: 'a.ts', mutants: 4, found: 3, score: 75 },
  ]);
});

test('mutants that do not compile do not count, and a module without any has nothing to find', () => {
  const files = { 'a.ts': module('Killed', 'CompileError', 'RuntimeError', 'Ignored'), 'b.ts': module() };
  expect(scoresOf({ files })).toEqual([
    { file: 'a.ts', mutants: 1, found: 1, score: 100 },
    { file: 'b.ts', mutants: 0, found: 0, score: 100 },
  ]);
});
