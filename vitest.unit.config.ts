import { defineConfig } from 'vitest/config';
import { watchdog } from './vitest.config.ts';

/** `npm run test:mutants`: the unit tests only. */
export default defineConfig({
  test: {
    ...watchdog,
    // A mutant that makes a test hang is found so much sooner.
    testTimeout: 15_000,
    include: ['test/unit/**/*.test.ts'],
    setupFiles: ['test/support/inProcessOnly.ts'],
  },
});
