/**
 * Stryker's test runner for the unit tests (stryker.config.mjs). A mutant is judged in this process, for a small part of
 * the time that a start of vitest takes (`--testRunner vitest`, for comparison): every test file is bundled
 * once with all of src/ that it imports, and run anew for each mutant, so that mutants of what runs while a module is
 * loaded are found like any other.
 *
 * Of vitest's interface it has what the unit tests use: `expect` is vitest's own.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Script } from 'node:vm';
import { build } from 'esbuild';

/** A package that another one depends on. */
async function dependencyOf(owner, name) {
  const file = createRequire(createRequire(import.meta.url).resolve(owner)).resolve(name);
  return await import(pathToFileURL(file).href);
}
const { chai, customMatchers, ...expecting } = await dependencyOf('vitest', '@vitest/expect');
const { fn } = await dependencyOf('vitest', '@vitest/spy');
const stryker = '@stryker-mutator/core';
const { declareClassPlugin, PluginKind } = await dependencyOf(stryker, '@stryker-mutator/api/plugin');
const { DryRunStatus, determineHitLimitReached, TestStatus, toMutantRunResult } = await dependencyOf(
  stryker,
  '@stryker-mutator/api/test-runner',
);

/**
 * A test hangs if neither its thread nor any other of the process works, for so many looks in a row. A process that gets no
 * processor is not idle: its thread does not wait.
 */
const [lookMs, idleLooks, idleMicroseconds, idleShare] = [1_000, 4, 10_000, 0.05];
/** As `expect.poll` waits; a busy machine gets as many tries as a quiet one. */
const [pollMs, fewestPolls, longestPollMs] = [5, 100, 2_000];

class UnitTestRunner {
  static inject = ['options'];
  #options;
  #files = [];
  #space = {};

  constructor(options) {
    this.#options = options;
  }

  capabilities() {
    return { reloadEnvironment: true };
  }

  async init() {
    const root = process.cwd();
    process.env.NODE_ENV = 'test';
    this.#space = globalThis.__stryker__ ??= {};
    const all = readdirSync(join(root, 'test/unit'), { recursive: true, encoding: 'utf8' })
      .map((name) => join(root, 'test/unit', name))
      .filter((file) => file.endsWith('.test.ts'));
    // `--testFiles`, but for globs, which Stryker resolves by itself.
    const chosen = all.filter((file) => this.#options.testFiles?.some((one) => join(root, one) === file));
    this.#files = await bundled(root, chosen.length > 0 ? chosen : all);
    const [setUp] = await bundled(root, [join(root, 'test/support/inProcessOnly.ts')]);
    await setUp.run(vitestFor(newSuite()));
  }

  async dryRun({ files = [], testFiles }) {
    const space = this.#space;
    space.activeMutant = undefined;
    space.mutantCoverage = { static: {}, perTest: {} };
    const chosen = this.#files.filter(
      ({ name, inputs }) =>
        (testFiles === undefined || testFiles.some((file) => file.endsWith(name))) &&
        (files.length === 0 || files.some((file) => isAmong(inputs, file))),
    );
    const result = await runFiles(chosen, {
      bail: false,
      onTest: (id) => {
        space.currentTestId = id;
      },
    });
    return { ...result, mutantCoverage: space.mutantCoverage };
  }

  async mutantRun({ testFilter, activeMutant, reloadEnvironment, hitLimit, sandboxFileName, disableBail }) {
    const space = this.#space;
    // Of what runs while a module is loaded: every test of it counts. Stryker then names no tests, or files of them.
    const isStatic = reloadEnvironment;
    space.hitCount = 0;
    space.hitLimit = hitLimit;
    const isWanted = isStatic ? undefined : (id) => testFilter.includes(id);
    const chosen = this.#files.filter(({ name, inputs }) =>
      isStatic ? isAmong(inputs, sandboxFileName) : testFilter.some((id) => id.startsWith(`${name}#`)),
    );
    // The tests that mirror the module know it best.
    const mirror = (name) =>
      sandboxFileName.endsWith(name.replace('test/unit/', 'src/').replace('.test.ts', '.ts'));
    const ordered = chosen.sort((a, b) => Number(mirror(b.name)) - Number(mirror(a.name)));
    if (ordered.length === 0) throw new Error(`no unit test imports ${sandboxFileName}`);
    const result = await runFiles(ordered, {
      bail: !disableBail,
      isWanted,
      onLoad: () => {
        space.activeMutant = isStatic ? activeMutant.id : undefined;
      },
      onLoaded: () => {
        space.activeMutant = activeMutant.id;
      },
    });
    space.activeMutant = undefined;
    return toMutantRunResult(determineHitLimitReached(space.hitCount, hitLimit) ?? result);
  }
}

export const strykerPlugins = [declareClassPlugin(PluginKind.TestRunner, 'unit-tests', UnitTestRunner)];

/** @param file its path, from wherever Stryker counts */
function isAmong(inputs, file) {
  return inputs.some((input) => file === input || file.endsWith(`/${input}`));
}

/** Bundles files by themselves. @returns their names, what went into them, and how each is run; paths from the root */
async function bundled(root, files) {
  const place = {
    name: 'place',
    setup({ onLoad }) {
      onLoad({ filter: /\.m?[jt]s$/ }, ({ path }) => ({
        contents: readFileSync(path, 'utf8').replaceAll(
          'import.meta.url',
          JSON.stringify(pathToFileURL(path).href),
        ),
        loader: 'ts',
      }));
    },
  };
  const { outputFiles, metafile } = await build({
    ...{
      entryPoints: files,
      bundle: true,
      packages: 'external',
      format: 'esm',
      platform: 'node',
      target: 'node20',
    },
    ...{
      write: false,
      metafile: true,
      outdir: join(root, 'build/tests'),
      outbase: root,
      absWorkingDir: root,
    },
    ...{ logLevel: 'error', plugins: [place], treeShaking: false },
  });
  const texts = new Map(outputFiles.map(({ path, text }) => [path, text]));
  return await Promise.all(
    Object.entries(metafile.outputs).map(async ([path, { entryPoint, inputs, imports }]) => {
      const outside = imports.filter(({ external }) => external).map(({ path: specifier }) => specifier);
      const modules = new Map();
      for (const specifier of outside.filter((one) => one !== 'vitest'))
        modules.set(specifier, await import(specifier));
      const start = asFunction(texts.get(join(root, path)), entryPoint);
      const run = (ofVitest) =>
        start(
          (specifier) => (specifier === 'vitest' ? ofVitest : modules.get(specifier)),
          (specifier) => import(specifier),
        );
      return {
        name: entryPoint,
        inputs: Object.keys(inputs),
        run,
      };
    }),
  );
}

/** A module as a function that runs it: it takes what imports at once, and what imports later. */
function asFunction(text, name) {
  const body = text
    .replace(
      /^import (?:(\w+)(?:, )?)?(?:\{([^}]*)\}|\* as (\w+))? from "([^"]+)";$/gm,
      (_, all, some, space, from) => {
        const source = `__import(${JSON.stringify(from)})`;
        return [
          all && `const ${all} = ${source}.default;`,
          some && `const {${some.replace(/ as /g, ': ')}} = ${source};`,
          space && `const ${space} = ${source};`,
        ]
          .filter(Boolean)
          .join(' ');
      },
    )
    .replace(/^import "[^"]+";$/gm, '')
    .replace(/^export \{[^}]*\};$/gm, '')
    .replace(/\bimport\(/g, '__later(');
  return new Script(`(async (__import, __later) => {${body}\n})`, { filename: name }).runInThisContext();
}

function newSuite() {
  return { tests: [], beforeAll: [], afterAll: [], beforeEach: [], afterEach: [], finished: [] };
}

/** What the tests import of vitest. */
function vitestFor(suite) {
  const add = (name, run) => suite.tests.push({ name, run });
  const each = (rows) => (name, run) => {
    for (const [index, row] of rows.entries())
      add(`${name} (${index + 1})`, () => (Array.isArray(row) ? run(...row) : run(row)));
  };
  const test = Object.assign(add, { each, runIf: (condition) => (condition ? add : () => undefined) });
  const hook = (kind) => (call) => suite[kind].push(call);
  const anything = new Proxy(() => anything, { get: () => anything });
  return {
    ...{ test, expect, expectTypeOf: anything, vi: { fn }, onTestFinished: hook('finished') },
    ...{ beforeAll: hook('beforeAll'), afterAll: hook('afterAll') },
    ...{ beforeEach: hook('beforeEach'), afterEach: hook('afterEach') },
  };
}

/**
 * Runs files one after the other, each of them anew.
 *
 * @param how `bail`: until a test fails; `isWanted`: only tests of these ids; `onLoad`, `onLoaded`: called before and after
 *   a file is loaded; `onTest`: called with the id of each test, then with undefined
 * @returns a result of Stryker's dry run
 */
async function runFiles(files, how) {
  const tests = [];
  const stray = [];
  const note = (error) => stray.push(`${error?.stack ?? error}`);
  process.on('unhandledRejection', note);
  process.on('uncaughtException', note);
  try {
    for (const file of files) {
      for await (const test of testsOf(file, how)) {
        tests.push(test);
        if (how.bail && test.status === TestStatus.Failed) return { status: DryRunStatus.Complete, tests };
      }
      await new Promise(setImmediate);
    }
  } finally {
    process.off('unhandledRejection', note);
    process.off('uncaughtException', note);
  }
  if (stray.length > 0 && tests.every(({ status }) => status === TestStatus.Success))
    return { status: DryRunStatus.Error, errorMessage: `outside of a test: ${stray.join('\n')}` };
  return { status: DryRunStatus.Complete, tests };
}

/** Loads a file and runs its tests. A file that cannot be loaded is one test that fails. */
async function* testsOf({ name, run }, { isWanted, onTest, onLoad, onLoaded }) {
  const suite = newSuite();
  onLoad?.();
  const unloaded = await failureOf(() => run(vitestFor(suite)));
  onLoaded?.();
  const failed = unloaded ?? (await failureOf(() => all(suite.beforeAll)));
  if (failed !== null) {
    yield resultOf(name, `${name}#its file`, 0, failed);
    return;
  }
  const seen = new Map();
  try {
    for (const { name: title, run: test } of suite.tests) {
      // Names may come twice.
      seen.set(title, (seen.get(title) ?? 0) + 1);
      const id = `${name}#${title} ${seen.get(title)}`;
      if (isWanted?.(id) === false) continue;
      onTest?.(id);
      const started = performance.now();
      const failure = await failureOf(() => withHooks(suite, test));
      onTest?.(undefined);
      yield resultOf(name, id, performance.now() - started, failure);
    }
  } finally {
    await failureOf(() => all(suite.afterAll));
  }
}

async function withHooks(suite, test) {
  try {
    await all(suite.beforeEach);
    await test();
  } finally {
    await all([...suite.afterEach, ...suite.finished.splice(0)].reverse());
  }
}

function resultOf(name, id, timeSpentMs, failure) {
  const result = { id, name: id, fileName: join(process.cwd(), name), timeSpentMs };
  return failure === null
    ? { ...result, status: TestStatus.Success }
    : { ...result, status: TestStatus.Failed, failureMessage: `${failure.message ?? failure}` };
}

async function all(calls) {
  for (const call of calls) await call();
}

/** @returns what was thrown, or that it waits for ever; null: neither */
async function failureOf(call) {
  let timer;
  const hangs = new Promise((_, reject) => {
    let looks = 0;
    let [cpu, loop] = [process.cpuUsage(), performance.eventLoopUtilization()];
    timer = setInterval(() => {
      const { user, system } = process.cpuUsage(cpu);
      const { utilization } = performance.eventLoopUtilization(loop);
      looks = user + system < idleMicroseconds && utilization < idleShare ? looks + 1 : 0;
      [cpu, loop] = [process.cpuUsage(), performance.eventLoopUtilization()];
      if (looks >= idleLooks) reject(new Error('it waits for ever'));
    }, lookMs);
  });
  try {
    await Promise.race([call(), hangs]);
    return null;
  } catch (error) {
    return error ?? new Error('undefined was thrown');
  } finally {
    clearInterval(timer);
  }
}

chai.use(expecting.JestExtend);
chai.use(expecting.JestChaiExpect);
chai.use(expecting.JestAsymmetricMatchers);
const expect = Object.assign(
  (value, message) => {
    const { assertionCalls = 0 } = expecting.getState(expect) ?? {};
    expecting.setState({ assertionCalls: assertionCalls + 1 }, expect);
    return chai.expect(value, message);
  },
  chai.expect,
  globalThis[expecting.ASYMMETRIC_MATCHERS_OBJECT],
  { poll },
);
expecting.setState({ assertionCalls: 0 }, expect);
globalThis[expecting.GLOBAL_EXPECT] = expect;
chai.expect.extend(expect, customMatchers);

/** As vitest's: an expectation that is tried until it holds. */
function poll(read) {
  return new Proxy(
    {},
    {
      get:
        (_, matcher) =>
        async (...args) => {
          const started = performance.now();
          for (let tries = 1; ; tries += 1) {
            try {
              return expect(await read())[matcher](...args);
            } catch (error) {
              if (tries >= fewestPolls && performance.now() - started > longestPollMs) throw error;
            }
            await new Promise((resolve) => setTimeout(resolve, pollMs));
          }
        },
    },
  );
}
