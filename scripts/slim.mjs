import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { build } from 'esbuild';

/**
 * What the program's dependencies bring and it never runs, and what Node.js has itself: each costs time at every start, and
 * memory for the rest of the device's life.
 */
const unused = (what) =>
  `() => { throw new Error(${JSON.stringify(`${what} is left out: see scripts/slim.mjs`)}); }`;
const neverCalled = (name, ...functions) =>
  functions.map((one) => `exports.${one} = ${unused(name)};`).join('\n');

/** Module -> what stands in its place. */
const everywhere = new Map([
  // conf validates by ajv only where it is given a schema.
  [
    'ajv/dist/2020.js',
    'exports.Ajv2020 = class { constructor() { throw new Error("no schema is used"); } };',
  ],
  ['ajv-formats', 'exports.default = () => undefined;'],
  // winston's streams are Node's own, in a package; its diagnostics print only for winston's developers.
  ['readable-stream', 'module.exports = require("node:stream");'],
  ['readable-stream/lib/_stream_writable.js', 'module.exports = require("node:stream").Writable;'],
  ['@dabh/diagnostics', 'module.exports = () => () => undefined;'],
  // No format with colours is used; logform only notes their names.
  ['@colors/colors/safe', 'exports.enabled = false;'],
]);

/** The same, only where conf asks for it: the configuration is read, never written, watched or migrated. */
const inConf = new Map([
  ['atomically', neverCalled('atomically', 'writeFileSync')],
  ['debounce-fn', `module.exports = ${unused('debounce-fn')};`],
  ['env-paths', `module.exports = ${unused('env-paths')};`],
  ['semver', neverCalled('semver', 'clean', 'eq', 'gt', 'lte', 'satisfies')],
  // Copying its names into a namespace, as a bundle does, calls each of Node's lazy getters.
  ['node:process', 'export default globalThis.process;'],
  // One call: what was read is compared with itself and no defaults.
  [
    'node:assert',
    `const { isDeepStrictEqual } = require('node:util');
     exports.deepEqual = (a, b) => { if (!isDeepStrictEqual(a, b)) require('node:assert').deepEqual(a, b); };`,
  ],
]);

/** What the source takes of pkijs; test/integration/bench/dependencies.test.ts compares the two. */
export const usedOfPkijs = [
  'AttributeTypeAndValue',
  'BasicConstraints',
  'Certificate',
  'CertificationRequest',
  'ContentInfo',
  'CryptoEngine',
  'ExtKeyUsage',
  'PublicKeyInfo',
  'RSASSAPSSParams',
  'SignedData',
];

/**
 * A third of pkijs less. Its classes name themselves in static blocks, which keep esbuild from leaving out those that nobody
 * uses; fields do not. What is loaded lazily esbuild takes whole, so that a build of its own takes the rest out before. The
 * engine of WebCrypto that pkijs makes when it is loaded goes, too: Node would load all of WebCrypto for it, and ours signs
 * with node:crypto.
 */
async function slimPkijs({ path }) {
  const [before, after, ...more] = readFileSync(path, 'utf8').split(/^initCryptoEngine\(\);$/m);
  if (after === undefined || more.length > 0)
    return { errors: [{ text: `${path} starts its engine elsewhere` }] };
  const contents = (before + after).replace(
    /static \{\s*this\.CLASS_NAME = ("[^"]*");\s*\}/g,
    // As many lines as before.
    (_, name) => `static CLASS_NAME = ${name};\n\n`,
  );
  const inner = {
    name: 'pkijs',
    setup: ({ onLoad }) => onLoad({ filter: /[/\\]pkijs[/\\]/ }, () => ({ contents })),
  };
  const { outputFiles } = await build({
    stdin: { contents: `export { ${usedOfPkijs} } from ${JSON.stringify(path)};`, resolveDir: dirname(path) },
    bundle: true,
    packages: 'external',
    absWorkingDir: dirname(path),
    format: 'esm',
    target: 'node20',
    write: false,
    sourcemap: 'inline',
    sourcesContent: false,
    logLevel: 'warning',
    plugins: [inner],
  });
  return { contents: outputFiles[0].text, loader: 'js', resolveDir: dirname(path) };
}

/** nats.js looks whether this Node has web streams, and Node loads them for the look; nothing here uses one. */
function slimNats({ path }) {
  const [before, after, ...more] = readFileSync(path, 'utf8').split(
    'typeof globalThis.ReadableStream === "undefined"',
  );
  if (after === undefined || more.length > 0)
    return { errors: [{ text: `${path} looks for streams elsewhere` }] };
  return { contents: `${before}false${after}`, loader: 'js' };
}

/** An esbuild plugin. A module of a package that is replaced, and not named here, fails the build. */
export const slimmer = {
  name: 'slim',
  setup({ onResolve, onLoad }) {
    onResolve(
      { filter: /^(ajv|ajv-formats|readable-stream|@dabh\/diagnostics|@colors\/colors)(\/|$)/ },
      ({ path }) => {
        if (everywhere.has(path)) return { path, namespace: 'slim' };
        return { errors: [{ text: `${path} is replaced by nothing: see scripts/slim.mjs` }] };
      },
    );
    onResolve(
      { filter: /^(atomically|debounce-fn|env-paths|semver|node:process|node:assert)$/ },
      ({ path, importer }) =>
        /\/node_modules\/conf\//.test(importer) ? { path, namespace: 'slim-conf' } : undefined,
    );
    onLoad({ filter: /[/\\]pkijs[/\\]build[/\\]index\.js$/ }, slimPkijs);
    onLoad({ filter: /[/\\]nats[/\\]lib[/\\]src[/\\]mod\.js$/ }, slimNats);
    onLoad({ filter: /.*/, namespace: 'slim' }, ({ path }) => ({
      contents: everywhere.get(path),
      loader: 'js',
    }));
    onLoad({ filter: /.*/, namespace: 'slim-conf' }, ({ path }) => ({
      contents: inConf.get(path),
      loader: 'js',
    }));
  },
};
