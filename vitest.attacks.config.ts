import { readFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';
import { watchdog } from './vitest.config.ts';

/** `npm run test:attacks`: the tests that the threat model names, the longer attacks included. */
const page = readFileSync(new URL('docs/threat-model.md', import.meta.url), 'utf8');
const include = new Set(
  [...page.matchAll(/`(test\/\S+\.(?:test|attack)\.ts)`/g)].map(([, file = '']) => file),
);

export default defineConfig({
  test: { ...watchdog, maxWorkers: 2, setupFiles: ['test/support/endOfTest.ts'], include: [...include] },
});
