import { defineConfig } from 'vitest/config';
import { watchdog } from './vitest.config.ts';

/** `npm run test:hardware-keys` */
export default defineConfig({
  test: {
    ...watchdog,
    maxWorkers: 2,
    setupFiles: ['test/support/endOfTest.ts'],
    include: ['test/system/hardwareKeys/**/*.hardware.ts'],
  },
});
