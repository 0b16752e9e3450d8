/** One program file per architecture: the bundle inside a Node.js runtime of its own (Node's single executables). */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { makeCodeCache } from './codeCache.ts';
import { fetched, root } from './tools.mjs';
import { verifyProgram } from './verifyProgram.mjs';

const sentinel = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';
const machines = {
  amd64: { strip: 'strip', run: [] },
  // Its code cache is made by its own runtime, under emulation: one of another architecture is refused.
  arm64: {
    strip: 'aarch64-linux-gnu-strip',
    run: process.arch === 'arm64' ? [] : ['qemu-aarch64-static', '-L', '/usr/aarch64-linux-gnu'],
  },
};

/**
 * V8 compiles hot functions on threads of its own, which wake up at rest, too, whenever one has become hot: on the thread that
 * runs the program they wake nobody. With others than these the code cache is refused.
 */
const engineOptions = ['--no-concurrent-sparkplug', '--no-concurrent-recompilation'];

/** What the program of an architecture needs of the system. */
export function programsFor(architecture) {
  const { strip, run } = machines[architecture];
  return [
    strip,
    ...(run.length > 0 ? ['qemu-aarch64-static', '/usr/aarch64-linux-gnu/lib/libstdc++.so.6'] : []),
  ];
}

/** The runtime that an architecture's program holds: how it is started here, and the versions of its own parts. */
export function runtimeOf(architecture) {
  const runtime = join(fetched(architecture), 'bin/node');
  const [command, ...args] = [
    ...machines[architecture].run,
    runtime,
    '-p',
    'JSON.stringify(process.versions)',
  ];
  const options = { encoding: 'utf8', env: { PATH: process.env.PATH } };
  return { file: runtime, versions: JSON.parse(execFileSync(command, args, options)) };
}

/** Starts the program of an architecture. @throws {Error} if it does not work */
export async function verify(architecture, program) {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  await verifyProgram([...machines[architecture].run, program], version);
}

/** Where the code cache of an architecture's program is left. */
export function codeCacheOf(architecture) {
  return join(root, 'dist', architecture, 'program.cache');
}

/**
 * Environment: CODE_CACHE, a file that an earlier build of the same commit left (`codeCacheOf`), instead of another one.
 *
 * @returns path of the program, which was started once. The same commit and code cache give the same bytes.
 */
export async function makeProgram(architecture) {
  const { strip, run } = machines[architecture];
  const folder = join(root, 'dist', architecture);
  mkdirSync(folder, { recursive: true });
  const runtime = join(fetched(architecture), 'bin/node');
  const program = join(folder, 'onboardd');
  const blob = join(folder, 'onboardd.blob');
  const recipe = join(folder, 'sea.json');
  const cache = codeCacheOf(architecture);
  // A seed of its own would order the code cache anew each time.
  const [command, ...args] = [...run, runtime, '--random-seed=1', ...engineOptions];
  const given = process.env.CODE_CACHE;
  const data = given
    ? readFileSync(given)
    : await makeCodeCache([command, ...args], join(folder, 'training'));
  writeFileSync(cache, data);
  writeFileSync(
    recipe,
    JSON.stringify({
      main: join('dist', 'onboardd.cjs'),
      output: blob,
      disableExperimentalSEAWarning: true,
      useCodeCache: true,
      assets: {
        'program.cjs': join('dist', 'program.cjs'),
        'program.cache': cache,
        // Read when a bug is told (src/adapters/stackTrace.ts).
        'program.cjs.map': join('dist', 'program.cjs.map'),
        // Started by `report` (src/adapters/thread.ts).
        'reportThread.cjs': join('dist', 'reportThread.cjs'),
      },
      // Whatever NODE_OPTIONS says: an environment must not bring code of its own into the program.
      execArgvExtension: 'none',
      // Once the program runs, SIGUSR1 does nothing. While the runtime starts it ends the process, and opens no debugger.
      execArgv: ['--disable-sigusr1', ...engineOptions],
    }),
  );
  execFileSync(command, [...args, '--experimental-sea-config', recipe], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env.PATH },
  });
  copyFileSync(runtime, program);
  chmodSync(program, 0o755);
  // Before the blob goes in: stripping after would take it away.
  execFileSync(strip, [program]);
  const { inject } = createRequire(import.meta.url)(join(fetched('postject'), 'dist/api.js'));
  await quietly(() => inject(program, 'NODE_SEA_BLOB', readFileSync(blob), { sentinelFuse: sentinel }));
  await verify(architecture, program);
  return program;
}

/** postject warns of each section that it does not know. */
async function quietly(call) {
  const { warn, log } = console;
  console.warn = console.log = () => undefined;
  try {
    return await call();
  } finally {
    Object.assign(console, { warn, log });
  }
}
