import { fileURLToPath } from 'node:url';
import { mergeConfig } from 'vitest/config';
import base from './vitest.config.ts';

const folder = (name: string) => fileURLToPath(new URL(`build/coverage/${name}`, import.meta.url));

/** `npm run coverage`: what runs in the tests' process is counted by vitest, what runs in the program by Node. */
export default mergeConfig(base, {
  test: {
    // It measures the bundle as it is shipped; here a readable one runs.
    exclude: ['test/integration/bench/counts.test.ts'],
    // Read by Node at its start: the tests' own process does not, the programs that they start do.
    env: { NODE_V8_COVERAGE: folder('program') },
    coverage: {
      enabled: true,
      provider: 'v8',
      include: ['src/**/*.ts'],
      reporter: ['json'],
      reportsDirectory: folder('inProcess'),
      reportOnFailure: true,
    },
  },
});
