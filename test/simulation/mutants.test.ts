import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { mutants } from './mutants.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const changes = mutants.flatMap(({ name, changes }) => changes.map((change) => ({ name, ...change })));

/** The text with its comments blanked out, every character in its place. */
function withoutComments(text: string): string {
  const source = ts.createSourceFile('x.ts', text, ts.ScriptTarget.Latest, true);
  const comments = new Map<number, number>();
  const visit = (node: ts.Node) => {
    for (const { pos, end } of ts.getLeadingCommentRanges(text, node.getFullStart()) ?? [])
      comments.set(pos, end);
    for (const { pos, end } of ts.getTrailingCommentRanges(text, node.end) ?? []) comments.set(pos, end);
    for (const child of node.getChildren(source)) visit(child);
  };
  visit(source);
  return [...comments].reduce(
    (left, [from, to]) => left.slice(0, from) + ' '.repeat(to - from) + left.slice(to),
    text,
  );
}

test('a comment is none of the code', () => {
  expect(withoutComments('a; // x\n/** y */ b("// z");')).toBe('a;     \n         b("// z");');
});

test.each(changes)('$name: $file holds the code that is changed once, comments aside', ({ file, from }) => {
  const text = readFileSync(`${root}${file}`, 'utf8');
  expect(text.split(from)).toHaveLength(2);
  expect(withoutComments(text).split(from)).toHaveLength(2);
});
