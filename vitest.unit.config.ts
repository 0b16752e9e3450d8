import { defineConfig } from 'vitest/config';
import { watchdog } from './vitest.config.ts';

/** `npm run test:mutants`: the unit tests only. */
export default defineConfig({
  test: { ...watchdog, include: ['test/unit/**/*.test.ts'], setupFiles: ['test/support/inProcessOnly.ts'] },
});
