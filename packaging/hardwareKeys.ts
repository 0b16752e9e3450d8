/** The optional package for keys in hardware: /usr/lib/onboardd/pkcs11, which the program loads if it is configured. */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { compilerFor, makePart } from '../scripts/pkcs11.mjs';
import { type Architecture, builtAt, debianFile, version } from './build.ts';
import { root } from './tools.mjs';

/** What making the package of an architecture needs of the system. */
export function programsForHardwareKeys(architecture: Architecture): string[] {
  return ['dpkg-deb', compilerFor(architecture)];
}

/** @returns path of `onboardd-pkcs11_VERSION_ARCH.deb` in `dist` */
export async function hardwareKeysPackage(architecture: Architecture): Promise<string> {
  const tree = join(root, 'dist', architecture, 'pkcs11-tree');
  rmSync(tree, { recursive: true, force: true });
  const part = join(tree, 'usr/lib/onboardd/pkcs11');
  await makePart(architecture, part);
  const documents = join(tree, 'usr/share/doc/onboardd-pkcs11');
  mkdirSync(documents, { recursive: true });
  cpSync(join(root, 'packaging/debian/copyright'), join(documents, 'copyright'));
  cpSync(join(part, 'node_modules/pkcs11js/LICENSE'), join(documents, 'pkcs11js-licence'));
  return deb(architecture, tree);
}

function deb(architecture: Architecture, tree: string): string {
  const file = join(root, 'dist', `onboardd-pkcs11_${version}_${architecture}.deb`);
  const files = readdirSync(tree, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  const bytes = files.reduce((sum, path) => sum + statSync(path).size, 0);
  const library = readFileSync(files.find((path) => path.endsWith('.node')) ?? '', 'latin1');
  mkdirSync(join(tree, 'DEBIAN'));
  const control = debianFile('control-pkcs11')
    .replaceAll('@VERSION@', version)
    .replaceAll('@ARCHITECTURE@', architecture)
    .replaceAll('@SIZE@', String(Math.ceil(bytes / 1024)))
    .replaceAll('@LIBC@', newest(library, /GLIBC_(\d+(?:\.\d+)+)/g))
    .replaceAll('@LIBSTDCXX@', compilerWith(newest(library, /GLIBCXX_(\d+(?:\.\d+)+)/g)));
  writeFileSync(join(tree, 'DEBIAN/control'), control);
  for (const path of readdirSync(tree, { recursive: true, encoding: 'utf8' }))
    utimesSync(join(tree, path), builtAt, builtAt);
  execFileSync('dpkg-deb', ['--root-owner-group', '-Zxz', '--threads-max=1', '--build', tree, file], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, SOURCE_DATE_EPOCH: String(builtAt) },
  });
  return file;
}

/** The newest version of its symbols that a library wants: the machine that compiled it decides that. */
export function newest(library: string, pattern: RegExp): string {
  const versions = [...library.matchAll(pattern)].map(([, found = '']) => found);
  const [last] = versions.sort((one, other) => other.localeCompare(one, 'en', { numeric: true }));
  if (last === undefined) throw new Error(`the library wants no ${pattern.source}`);
  return last;
}

/**
 * The GCC whose libstdc++ has symbols of a version first, which Debian numbers the package by:
 * https://gcc.gnu.org/onlinedocs/libstdc++/manual/abi.html
 *
 * @param symbols as `3.4.29`
 */
function compilerWith(symbols: string): string {
  const number = Number(symbols.split('.')[2] ?? 0);
  const first: readonly [number, string][] = [
    [21, '5'],
    [22, '6'],
    [24, '7'],
    [25, '8'],
    [28, '9'],
    [29, '11'],
    [30, '12'],
    [32, '13'],
    [33, '14'],
    [34, '15'],
  ];
  const compiler = first.find(([upTo]) => number <= upTo)?.[1];
  if (compiler === undefined) throw new Error(`packaging/hardwareKeys.ts does not know GLIBCXX_${symbols}`);
  return compiler;
}
