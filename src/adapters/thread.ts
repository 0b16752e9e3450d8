import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

/**
 * Starts a bundle beside the program (scripts/build.mjs) on a thread of its own; in the single executable it is an asset
 * (packaging/program.mjs).
 *
 * @returns null if it is not there, as in a run from the source
 */
export function startThread(bundle: string, workerData: unknown): Worker | null {
  const sea = process.getBuiltinModule?.('node:sea');
  if (sea?.isSea()) return new Worker(sea.getAsset(bundle, 'utf8'), { eval: true, workerData });
  const path = typeof __dirname === 'undefined' ? '' : join(__dirname, bundle);
  return existsSync(path) ? new Worker(path, { workerData }) : null;
}
