#!/usr/bin/env node
/**
 * Bundles src/main.ts into dist/program.cjs, and src/launch.ts, which starts it, into dist/onboardd.cjs, the program that
 * package.json names. Same commit, same bytes. `--readable`: statements as they are in the source and no launcher, for coverage.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { decode, encode } from '@jridgewell/sourcemap-codec';
import { build } from 'esbuild';
import { slimmer } from './slim.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
/** Where there is neither SOURCE_DATE_EPOCH nor a git history: the day of this version. */
const releaseDay = Date.UTC(2026, 10, 23) / 1000;

function buildSeconds() {
  const { SOURCE_DATE_EPOCH } = process.env;
  if (SOURCE_DATE_EPOCH) return Number(SOURCE_DATE_EPOCH);
  try {
    const options = { cwd: root, stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' };
    return Number(execFileSync('git', ['log', '-1', '--format=%ct'], options)) || releaseDay;
  } catch {
    return releaseDay;
  }
}

/**
 * A bug's report names files and lines: of the dependencies' code, columns and names of variables would make the map, and so the
 * packages, larger for nothing.
 */
function slimMap(file) {
  const map = JSON.parse(readFileSync(file, 'utf8'));
  const isOwn = map.sources.map((source) => !source.includes('node_modules'));
  const mappings = decode(map.mappings).map((segments) =>
    segments
      .map(([at, source, line, column]) => [at, source, line, isOwn[source] ? column : 0])
      .filter(([, source, line], index, all) => {
        const [, sourceBefore, lineBefore] = all[index - 1] ?? [];
        return isOwn[source] || source !== sourceBefore || line !== lineBefore;
      }),
  );
  writeFileSync(file, JSON.stringify({ ...map, names: [], mappings: encode(mappings) }));
}

const minify = !process.argv.includes('--readable');
const launcher = `${root}dist/onboardd.cjs`;
const common = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  // A script that runs from a code cache has no loader for import(): what stays outside the bundle is required.
  supported: { 'dynamic-import': false },
  minifySyntax: minify,
  minifyWhitespace: minify,
  minifyIdentifiers: minify,
  logLevel: 'warning',
};
await build({
  ...common,
  entryPoints: [`${root}src/main.ts`],
  outfile: minify ? `${root}dist/program.cjs` : launcher,
  keepNames: true,
  // What the launcher runs: a function, as Node makes one of each module of CommonJS.
  ...(minify && {
    banner: { js: '(function (exports, require, module, __filename, __dirname) {' },
    footer: { js: '})' },
  }),
  plugins: [slimmer],
  define: { BUILD_VERSION: JSON.stringify(version), BUILD_TIME: String(buildSeconds() * 1000) },
  // Beside the bundle, which does not name it: it is read when a bug is told, and never at a start.
  sourcemap: 'external',
  sourcesContent: false,
});
if (minify) slimMap(`${root}dist/program.cjs.map`);
// `report` reads large logs on several threads.
await build({
  ...common,
  entryPoints: [`${root}src/cli/reportThread.ts`],
  outfile: `${root}dist/reportThread.cjs`,
});
if (minify) {
  await build({
    ...common,
    entryPoints: [`${root}src/launch.ts`],
    outfile: launcher,
    banner: { js: '#!/usr/bin/env node' },
  });
  rmSync(`${launcher}.map`, { force: true });
}
chmodSync(launcher, 0o755);
