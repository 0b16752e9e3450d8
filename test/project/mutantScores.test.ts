import { expect, test } from 'vitest';
import { scoresOf, withScores } from '../../scripts/mutantScores.ts';

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

test('a module that is measured anew gets a new row in the table, the others keep theirs', () => {
  const score = (file: string, found: number) => ({ file, mutants: 8, found, score: (100 * found) / 8 });
  const page = 'before\n<!-- unit-mutants -->\n<!-- /unit-mutants -->\nafter';
  const first = withScores(page, [score('b.ts', 8), score('a.ts', 7)], { commit: 'c1', tests: 'all' });
  const second = withScores(first, [score('b.ts', 4)], { commit: 'c2', tests: 'its own' });
  expect(second.split('\n').filter((line) => line !== '')).toEqual([
    'before',
    '<!-- unit-mutants -->',
    '| module | commit | tests | mutants | found | score |',
    '| --- | --- | --- | --- | --- | --- |',
    '| `a.ts` | c1 | all | 8 | 7 | 87 % |',
    '| `b.ts` | c2 | its own | 8 | 4 | 50 % |',
    '<!-- /unit-mutants -->',
    'after',
  ]);
  expect(() => withScores('', [], { commit: 'c1', tests: 'all' })).toThrow('no place');
});
