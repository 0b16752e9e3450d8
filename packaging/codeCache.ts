import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startFleet } from '../fleet/fleet.ts';
import { root } from './tools.mjs';

/** Runs that must agree on every byte, and runs at most. */
const agreeing = 3;
const mostRuns = 15;
const longestRunMs = 300_000;

/**
 * V8's code cache of the bundle, made after a whole onboarding: it holds every function that one needs, and none of the
 * others. A run on a busy machine now and then compiles a function more or less: what counts is what most runs agree on.
 * That is the same bytes nearly always, not always: whoever compares builds hands one on (CODE_CACHE).
 *
 * @param runtime the command that runs a script on the executable's own runtime, of its architecture
 * @param folder where to work
 */
export async function makeCodeCache(runtime: readonly string[], folder: string): Promise<Buffer> {
  mkdirSync(folder, { recursive: true });
  for (const name of ['onboardd.cjs', 'program.cjs'])
    copyFileSync(join(root, 'dist', name), join(folder, name));
  const fleet = await startFleet({ fields: () => ({ token: 'aGVsbG8K' }) });
  try {
    const found = new Map<string, { data: Buffer; count: number }>();
    for (let run = 0; run < mostRuns; run++) {
      const data = await cacheOfOneRun(runtime, folder, fleet.provisioningUrl);
      // Under emulation a run now and then leaves none.
      if (data === undefined) continue;
      const digest = createHash('sha256').update(data).digest('hex');
      const count = (found.get(digest)?.count ?? 0) + 1;
      found.set(digest, { data, count });
      if (count === agreeing) break;
    }
    const [best] = [...found.values()].sort((one, other) => other.count - one.count);
    if (best === undefined) throw new Error(`${mostRuns} onboardings left no code cache in ${folder}`);
    return best.data;
  } finally {
    await fleet.stop();
  }
}

/** @returns undefined if it left none. @throws {Error} if the device was not registered */
async function cacheOfOneRun(
  runtime: readonly string[],
  folder: string,
  url: string,
): Promise<Buffer | undefined> {
  const device = mkdtempSync(join(tmpdir(), 'onboardd-cache-'));
  const file = join(folder, 'program.cache');
  try {
    const config = join(device, 'config.json');
    writeFileSync(
      config,
      JSON.stringify({
        stateDir: join(device, 'state'),
        provisioning: { url },
        device: { type: 'mobile' },
        log: { format: 'json' },
      }),
    );
    rmSync(file, { force: true });
    const [program = '', ...args] = [...runtime, join(folder, 'onboardd.cjs')];
    await promisify(execFile)(program, [...args, 'run', '--once', '--config', config], {
      env: { PATH: process.env.PATH },
      timeout: longestRunMs,
    });
    if (!existsSync(file)) return undefined;
    const bytes = readFileSync(file);
    return bytes.subarray(bytes.indexOf(0x0a) + 1);
  } finally {
    rmSync(device, { recursive: true, force: true });
  }
}
