import { expect, test } from 'vitest';
import { withTexts } from '../../../src/cli/bundle.ts';

test.each([
  ['a field that is a list of bytes is a text', '{"MESSAGE":[104,105],"b":"1"}', '{"MESSAGE":"hi","b":"1"}'],
  ['the last field, too', '{"b":"1","MESSAGE":[10]}', '{"b":"1","MESSAGE":"\\n"}'],
  ['a list within a text stays', '{"MESSAGE":"node[123] and [007]"}', '{"MESSAGE":"node[123] and [007]"}'],
  ['JSON within a text stays', '{"M":"{\\"a\\":[1,2]}"}', '{"M":"{\\"a\\":[1,2]}"}'],
])('of the journal’s lines %s', (_, line, expected) => {
  expect(withTexts(line)).toBe(expected);
});
