import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addDuration, newDistribution, quantile } from '../../../../src/services/fleetReport/distribution.ts';

test('quantiles are right within two per cent', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 1e9 }), { minLength: 1, maxLength: 300 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (values, fraction) => {
        const distribution = newDistribution();
        for (const value of values) addDuration(distribution, value);
        const exact = values.sort((a, b) => a - b)[Math.ceil(values.length * fraction) - 1] ?? 0;
        expect(Math.abs(quantile(distribution, fraction) - exact)).toBeLessThanOrEqual(1 + exact * 0.02);
      },
    ),
  );
});
