import { expect, test } from 'vitest';
import { catalogue } from '../../../src/errors/catalogue.ts';

test('a bug of the program is no reason to give up an identity', () => {
  expect(catalogue.INTERNAL.class).toBe('transient');
  expect(catalogue.INTERNAL.remedy).not.toMatch(/reset/);
  expect(catalogue.INTERNAL.remedy).toMatch(/log.*version/);
});
