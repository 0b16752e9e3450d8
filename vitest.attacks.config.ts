import { defineConfig } from 'vitest/config';
import usual from './vitest.config.ts';

/** `npm run test:attacks`: whatever is hostile to the program, the longer attacks included. */
export default defineConfig({
  test: {
    ...usual.test,
    include: [
      'test/attacks/*.test.ts',
      'test/attacks/*.attack.ts',
      'test/adapters/{fleetCa,files,natsFrames,stateFolder}.test.ts',
      'test/services/{acceptance,registrationResult}.test.ts',
      'test/onboarding/{registration,reload,safety,stateDirectory,trust}.test.ts',
      'test/errors.test.ts',
    ],
  },
});
