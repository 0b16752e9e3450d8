import { expect, test } from 'vitest';
import { type FileCoverage, totalsOf } from '../../scripts/coverageTotals.ts';

const at = (line: number, column: number) => ({ start: { line, column } });

/** Two statements on the first line and one on the second, two functions, one branch of two ways. */
function report(s: number[], f: number[], b: number[]): FileCoverage {
  return {
    statementMap: { 0: at(1, 0), 1: at(1, 9), 2: at(2, 0) },
    fnMap: { 0: { loc: at(1, 0) }, 1: { loc: at(2, 4) } },
    branchMap: { 0: { type: 'if', loc: at(2, 0), locations: [0, 1] } },
    s: Object.fromEntries(s.entries()),
    f: Object.fromEntries(f.entries()),
    b: { 0: b },
  };
}

test('a line, a function or a way of a branch counts if it ran in either report', () => {
  const first = { 'a.ts': report([1, 0, 0], [1, 0], [0, 2]), 'b.ts': report([0, 0, 0], [0, 0], [0, 0]) };
  expect(totalsOf(first, {})).toEqual({
    lines: { covered: 1, all: 4 },
    functions: { covered: 1, all: 4 },
    branches: { covered: 1, all: 4 },
  });
  expect(totalsOf(first, { 'a.ts': report([0, 0, 3], [0, 1], [1, 0]) })).toEqual({
    lines: { covered: 2, all: 4 },
    functions: { covered: 2, all: 4 },
    branches: { covered: 2, all: 4 },
  });
});

test('what only the second report names adds nothing', () => {
  const second = { ...report([0, 0, 0], [0, 0], [0, 0]), statementMap: { 0: at(7, 0) }, s: { 0: 1 } };
  const totals = totalsOf({ 'a.ts': report([0, 0, 0], [0, 0], [0, 0]) }, { 'a.ts': second, 'c.ts': second });
  expect(totals.lines).toEqual({ covered: 0, all: 2 });
});
