import { expect, test } from 'vitest';
import { importsOf } from '../../../bench/dependencies.ts';
import { usedOfPkijs } from '../../../scripts/slim.mjs';

test('a dependency that the source loads late is measured by the names that it takes of it', () => {
  const names = importsOf(['pkijs']).get('pkijs');
  expect(names).toContain('SignedData');
  expect(names).not.toContain('default');
});

test('a default export that is taken late under a name is measured as the default', () => {
  expect(importsOf(['conf']).get('conf')).toEqual(new Set(['default']));
});

test('the bundle keeps of pkijs whatever the source takes of it, early or late', () => {
  expect([...(importsOf(['pkijs']).get('pkijs') ?? [])].sort()).toEqual([...usedOfPkijs].sort());
});
