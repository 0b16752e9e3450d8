import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** A hanging test ends after this long. No test is measured by it: a loaded machine takes a multiple of a quiet one. */
export const watchdog = { testTimeout: 300_000, hookTimeout: 300_000 };

/** Loading them anew for each file takes longer than most of the tests. */
const sharedModules = { isolate: false };

const project = (name: string, include: string[], more = {}) => ({
  extends: true as const,
  test: { name, include, ...more },
});

/** Projects in this order: a file that keeps a processor busy for a minute must not be the last to start. */
const order = ['simulation', 'reliability', 'integration', 'unit', 'project'];
const placeOf = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return sorted.sort((one, other) => placeOf(one.project.name) - placeOf(other.project.name));
  }
}

export default defineConfig({
  test: {
    ...watchdog,
    // One more than the cores that are expected: most of the integration tests' time they wait.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    projects: [
      project('unit', ['test/unit/**/*.test.ts'], {
        setupFiles: ['test/support/inProcessOnly.ts'],
        ...sharedModules,
      }),
      project('project', ['test/project/**/*.test.ts', 'test/support/**/*.test.ts']),
      project('integration', ['test/integration/**/*.test.ts'], {
        setupFiles: ['test/support/endOfTest.ts'],
        ...sharedModules,
      }),
      // A simulated life ends after so many steps, however long they take.
      project('simulation', ['test/simulation/**/*.test.ts'], { testTimeout: 0 }),
      project('reliability', ['test/reliability/**/*.test.ts'], {
        setupFiles: ['test/support/endOfTest.ts'],
      }),
    ],
  },
});
