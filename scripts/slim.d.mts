import type { Plugin } from 'esbuild';

export const slimmer: Plugin;
export const usedOfPkijs: readonly string[];
