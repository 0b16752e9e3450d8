import { defineConfig } from 'vitest/config';
import usual from './vitest.config.ts';

/** The tests of single modules, which need neither the built program nor a server. */
const include = ['test/{config,errors,machines,services,text}/**/*.test.ts', 'test/decisions.test.ts'];

export default defineConfig({ test: { ...usual.test, include } });
