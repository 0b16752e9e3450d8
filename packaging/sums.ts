/** `dist/SHA256SUMS`, which says what was built last. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** @returns the SHA-256 of a file, in hexadecimal */
export function sha256Of(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

/** @returns one line for each file, in the form of sha256sum(1), in the order of their digests */
export function sumsOf(files: readonly string[]): string {
  return files
    .map((file) => `${sha256Of(file)}  ${basename(file)}\n`)
    .sort()
    .join('');
}

/** @returns paths of the files that SHA256SUMS in a folder lists, and that are as it says; none if there is no such file */
export function filesBuilt(folder: string): string[] {
  const sums = join(folder, 'SHA256SUMS');
  if (!existsSync(sums)) return [];
  return readFileSync(sums, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [, digest, name = ''] = /^([0-9a-f]{64}) {2}([^/]+)$/.exec(line) ?? [];
      const file = join(folder, name);
      return digest !== undefined && existsSync(file) && sha256Of(file) === digest ? [file] : [];
    });
}
