/**
 * `npm run coverage`: how much of src/ the unit and integration tests run, in their own process and in the programs that
 * they start. The bundle's coverage is Node's (NODE_V8_COVERAGE), mapped to the sources by its source map. A program that
 * is killed with SIGKILL writes none.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { mergeProcessCovs } from '@bcoe/v8-coverage';
import { parse } from 'acorn';
import { convert } from 'ast-v8-to-istanbul';
import { totalsOf } from './coverageTotals.ts';
import { install, run } from './install.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = `${root}build/coverage/`;
const bundle = `${root}dist/onboardd.cjs`;

const natsServer = await install();
rmSync(folder, { recursive: true, force: true });
run('node', ['scripts/build.mjs', '--readable']);
const { status } = spawnSync(
  process.execPath,
  [
    `${root}node_modules/vitest/vitest.mjs`,
    ...['run', '--config', 'vitest.coverage.config.ts', '--project', 'unit', '--project', 'integration'],
    ...process.argv.slice(2),
  ],
  { cwd: root, stdio: 'inherit', env: { ...process.env, NATS_SERVER: natsServer } },
);

const inProcess = JSON.parse(readFileSync(`${folder}inProcess/coverage-final.json`, 'utf8'));
const { programs, coverage } = bundleCoverage();
const both = totalsOf(inProcess, coverage === undefined ? {} : await toSources(coverage));
const alone = totalsOf(inProcess, {});
console.log(`\n${programs} programs ran the bundle.`);
for (const kind of ['lines', 'functions', 'branches'])
  console.log(`${kind}: ${shown(both[kind])}; in the tests' own process ${shown(alone[kind])}`);
run('node', ['scripts/build.mjs']);
process.exit(status ?? 1);

/** One file of Node's at a time: together they may be a gigabyte. */
function bundleCoverage() {
  const url = pathToFileURL(bundle).href;
  let programs = 0;
  let merged = { result: [] };
  for (const file of readdirSync(`${folder}program`)) {
    const { result } = JSON.parse(readFileSync(`${folder}program/${file}`, 'utf8'));
    const own = result.filter((script) => script.url === url);
    if (own.length === 0) continue;
    programs += 1;
    merged = mergeProcessCovs([merged, { result: own }]);
  }
  return { programs, coverage: merged.result[0] };
}

async function toSources(script) {
  const code = readFileSync(bundle, 'utf8');
  const sourceMap = JSON.parse(readFileSync(`${bundle}.map`, 'utf8'));
  const ast = parse(code, { ecmaVersion: 'latest', sourceType: 'commonjs', allowHashBang: true });
  const all = await convert({ ast, code, wrapperLength: 0, coverage: script, sourceMap });
  return Object.fromEntries(Object.entries(all).filter(([file]) => file.startsWith(`${root}src/`)));
}

function shown({ covered, all }) {
  return `${((100 * covered) / all).toFixed(1)} % (${covered} of ${all})`;
}
