#!/usr/bin/env node
/**
 * Bundles the workbench fleet into dist/fleet, a package of its own: `npm pack ./dist/fleet`, then
 * `npm install --global` of the file gives the program `onboardd-fleet`. It needs Node and a nats-server.
 */
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = `${root}dist/fleet`;
const { version, license, engines } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
await build({
  entryPoints: { 'onboardd-fleet': `${root}fleet/main.ts`, agents: `${root}fleet/rehearsal/agents.ts` },
  outdir: out,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  minifySyntax: true,
  minifyWhitespace: true,
  logLevel: 'warning',
  define: { BUILD_VERSION: JSON.stringify(version) },
  // What is bundled of CommonJS asks for Node's own modules with require.
  banner: {
    js: "#!/usr/bin/env node\nimport { createRequire as requireOfBundle } from 'node:module';\nconst require = requireOfBundle(import.meta.url);",
  },
});
// The live page needs no network but the workbench: all of it is in this bundle.
const page = `${root}fleet/page/browser`;
await build({
  entryPoints: [`${page}/app.ts`],
  outfile: `${out}/page/app.js`,
  bundle: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
  logLevel: 'warning',
});
for (const name of ['index.html', 'style.css']) copyFileSync(`${page}/${name}`, `${out}/page/${name}`);
chmodSync(`${out}/onboardd-fleet.mjs`, 0o755);
copyFileSync(`${root}LICENSE`, `${out}/LICENSE`);
const manifest = {
  name: 'onboardd-fleet',
  version,
  description:
    'A workbench fleet for onboardd: provisioning server, NATS and fleet manager. Not for production.',
  license,
  type: 'module',
  bin: { 'onboardd-fleet': 'onboardd-fleet.mjs' },
  engines,
};
writeFileSync(`${out}/package.json`, `${JSON.stringify(manifest, null, 2)}\n`);
