#!/usr/bin/env node
/**
 * Makes the optional part for keys in hardware: `dist/pkcs11` beside the checkout's program, or a folder for packages.
 * src/pkcs11 as a bundle of its own, and pkcs11js, whose native half is compiled for one architecture.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { fetched, missingAfterInstalling, root } from '../packaging/tools.mjs';

const compilers = { amd64: ['x64', 'x86_64-linux-gnu-g++'], arm64: ['arm64', 'aarch64-linux-gnu-g++'] };
const here = process.arch === 'arm64' ? 'arm64' : 'amd64';

/** What making the part needs of the system. */
export function compilerFor(architecture) {
  const [arch, cross] = compilers[architecture];
  return arch === process.arch ? 'g++' : cross;
}

/** @returns the folder. @throws {Error} if there is no compiler, or it fails */
export async function makePart(architecture = here, folder = join(root, 'dist/pkcs11')) {
  const compiler = compilerFor(architecture);
  const library = join(folder, 'node_modules/pkcs11js');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(library, 'build/Release'), { recursive: true });
  await build({
    entryPoints: [join(root, 'src/pkcs11/part.ts')],
    outfile: join(folder, 'part.cjs'),
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external: ['pkcs11js'],
    minifySyntax: true,
    logLevel: 'warning',
  });
  const from = fetched('pkcs11js');
  for (const name of ['index.js', 'package.json', 'LICENSE']) cpSync(join(from, name), join(library, name));
  const include = (path) => ['-I', path];
  execFileSync(
    compiler,
    [
      ...['-shared', '-fPIC', '-O2', '-s', '-std=c++17', '-w'],
      ...['-DNODE_GYP_MODULE_NAME=pkcs11', '-DNAPI_DISABLE_CPP_EXCEPTIONS'],
      ...[...include('includes'), ...include(join(fetched('headers'), 'include'))],
      ...['src/dl.cpp', 'src/common.cpp', 'src/main.cpp'],
      ...['-ldl', '-o', join(library, 'build/Release/pkcs11.node')],
    ],
    { cwd: from, stdio: ['ignore', 'ignore', 'inherit'] },
  );
  return folder;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const missing = missingAfterInstalling([compilerFor(here)]);
  if (missing.length > 0) {
    console.error(`needed and not there: ${missing.join(', ')}; as root, this command installs them`);
    // sysexits.h: unavailable
    process.exit(69);
  }
  console.log(await makePart());
}
