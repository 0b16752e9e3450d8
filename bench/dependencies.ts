import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { root } from '../packaging/tools.mjs';
import { slimmer } from '../scripts/slim.mjs';
import { runToEnd } from './run.ts';
import { median } from './statistics.ts';

/** What a dependency costs by itself, with all that it pulls in, over an empty program. */
export interface DependencyCost {
  readonly name: string;
  /** Time of the processor until its code has run, median, milliseconds: other processes do not add to it */
  readonly ms: number;
  /** in a bundle of its own */
  readonly bytes: number;
  /** proportional set size after garbage collection */
  readonly pss: number;
  /** resident set size after garbage collection */
  readonly rss: number;
}

const rounds = 11;
/** Written at the end of each program. */
const report = `
for (let i = 0; i < 3; i++) globalThis.gc();
const rollup = require('node:fs').readFileSync('/proc/self/smaps_rollup', 'utf8');
const bytes = (name) => 1024 * Number(new RegExp('^' + name + ':\\\\s+(\\\\d+) kB', 'm').exec(rollup)[1]);
console.log(JSON.stringify({ event: 'loaded', ms, pss: bytes('Pss'), rss: bytes('Rss') }));
`;

/** What the source imports by name of each dependency: the rest is not in the bundle. */
export function importsOf(dependencies: readonly string[]): Map<string, Set<string>> {
  const imports = new Map(dependencies.map((name) => [name, new Set<string>()]));
  for (const name of readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts')) continue;
    const text = readFileSync(join(root, 'src', name), 'utf8');
    for (const [, what = '', from = ''] of text.matchAll(
      /^import (?!type )([^;]*?) from '([^.'][^']*)';/gm,
    )) {
      const list = /\{([^}]*)\}/s.exec(what)?.[1];
      const names = list === undefined ? membersOf(what, text) : list.split(',');
      for (const one of names.map((item) => item.trim()))
        if (one !== '' && !one.startsWith('type ')) imports.get(from)?.add(one.split(' as ')[0] ?? one);
    }
    for (const [, list = 'default', from = ''] of text.matchAll(
      /(?:\{([^{}]*)\} = await)? import\('([^.'][^']*)'\)/g,
    ))
      for (const one of list.split(',')) imports.get(from)?.add(one.trim().split(/:\s*/)[0] ?? one);
  }
  return imports;
}

/** Of `* as v` what follows `v.` with a small letter: the types begin with a capital one. */
function membersOf(what: string, text: string): string[] {
  const name = /^\* as (\w+)$/.exec(what)?.[1];
  if (name === undefined) return ['default'];
  return [...text.matchAll(new RegExp(`\\b${name}\\.([a-z]\\w*)`, 'g'))].map(([, member = '']) => member);
}

/** @param node the runtime */
export async function measureDependencies(node: string): Promise<DependencyCost[]> {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  try {
    const programs = new Map([['empty', await program(folder, 'empty', '')]]);
    const imports = importsOf(Object.keys(dependencies));
    for (const [name, names] of imports)
      programs.set(name, await program(folder, name, loading(name, names)));
    const everything = [...imports].map(([name, names]) => loading(name, names)).join('\n');
    programs.set('all together', await program(folder, 'all together', everything));
    return await compared(node, programs);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface Program {
  readonly file: string;
  readonly bytes: number;
}

function loading(name: string, names: ReadonlySet<string>): string {
  const own = [...names].map((one, at) => [one, `${name.replace(/\W/g, '_')}_${at}`] as const);
  const list = own.map(([one, as]) => `${one} as ${as}`).join(', ');
  return `import { ${list} } from '${name}';\nkeep.push(${own.map(([, as]) => as).join(', ')});`;
}

/** Built as scripts/build.mjs builds the program. */
async function program(folder: string, name: string, contents: string): Promise<Program> {
  const file = join(folder, `${name.replace(/\W/g, '_')}.cjs`);
  const { outputFiles } = await build({
    stdin: { contents: `const keep = (globalThis.keep = []);\n${contents}`, resolveDir: root },
    outfile: file,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    minifySyntax: true,
    minifyWhitespace: true,
    keepNames: true,
    plugins: [slimmer],
    write: false,
    logLevel: 'warning',
  });
  const text = outputFiles[0]?.text ?? '';
  writeFileSync(file, text);
  const outer = `const begun = process.cpuUsage(); require(${JSON.stringify(file)}); const used = process.cpuUsage(begun); const ms = (used.user + used.system) / 1000;${report}`;
  writeFileSync(`${file}.run.cjs`, outer);
  return { file: `${file}.run.cjs`, bytes: Buffer.byteLength(text) };
}

async function compared(node: string, programs: ReadonlyMap<string, Program>): Promise<DependencyCost[]> {
  const seen = new Map([...programs.keys()].map((name) => [name, [] as Record<string, unknown>[]]));
  for (let round = 0; round < rounds; round++)
    for (const [name, { file }] of programs) {
      const { lines } = await runToEnd([node, '--expose-gc', file]);
      seen.get(name)?.push(...lines);
    }
  const of = (name: string, field: string) =>
    median((seen.get(name) ?? []).map((line) => Number(line[field])));
  const over = (name: string, field: string) => of(name, field) - of('empty', field);
  return [...programs]
    .filter(([name]) => name !== 'empty')
    .map(([name, { bytes }]) => ({
      name,
      bytes,
      ms: over(name, 'ms'),
      pss: over(name, 'pss'),
      rss: over(name, 'rss'),
    }));
}
