import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';

const source = fileURLToPath(new URL('../../src', import.meta.url));
const typographic = /[\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u2039\u203a]/;

/** Text of string and template literals, with its line number. */
function literalsOf(text: string): { line: number; text: string }[] {
  const file = ts.createSourceFile('a.ts', text, ts.ScriptTarget.Latest, true);
  const found: { line: number; text: string }[] = [];
  const visit = (node: ts.Node) => {
    if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node))
      found.push({ line: file.getLineAndCharacterOfPosition(node.getStart()).line + 1, text: node.text });
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

const offending = (text: string) => literalsOf(text).filter((literal) => typographic.test(literal.text));

test('typographic quotes are found in every kind of literal, and in no comment', () => {
  const lines = [
    "'it\u2019s'",
    `\`a \${1} \u201cb\u201d \${2}\``,
    '"\u2018x\u2019"',
    '// it\u2019s',
    "'plain'",
  ];
  expect(offending(lines.join('\n')).map(({ line }) => line)).toEqual([1, 2, 3]);
});

test('messages hold ASCII quotes only, so that they can be typed and searched', () => {
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  const wrong = files.flatMap((name) =>
    offending(readFileSync(join(source, name), 'utf8')).map(({ line, text }) => `${name}:${line}: ${text}`),
  );
  expect(files.length).toBeGreaterThan(50);
  expect(wrong).toEqual([]);
});
