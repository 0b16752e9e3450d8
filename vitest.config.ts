import { defineConfig } from 'vitest/config';

/** A hanging test ends after this long. No test is measured by it: a loaded machine takes a multiple of a quiet one. */
export const watchdog = { testTimeout: 300_000, hookTimeout: 300_000 };

const project = (name: string, include: string[], more = {}) => ({
  extends: true as const,
  test: { name, include, ...more },
});

export default defineConfig({
  test: {
    ...watchdog,
    // One more than the cores that are expected: most of the integration tests' time they wait.
    maxWorkers: 3,
    projects: [
      project('unit', ['test/unit/**/*.test.ts'], { setupFiles: ['test/support/inProcessOnly.ts'] }),
      project('project', ['test/project/**/*.test.ts', 'test/support/**/*.test.ts']),
      project('integration', ['test/integration/**/*.test.ts']),
      // A simulated life ends after so many steps, however long they take.
      project('simulation', ['test/simulation/**/*.test.ts'], { testTimeout: 0 }),
      project('reliability', ['test/reliability/**/*.test.ts']),
    ],
  },
});
