import { expect, test } from 'vitest';
import { importsOf } from '../../../bench/dependencies.ts';

test('a dependency that the source loads late is measured by the names that it takes of it', () => {
  const names = importsOf(['pkijs']).get('pkijs');
  expect(names).toContain('SignedData');
  expect(names).not.toContain('default');
});
