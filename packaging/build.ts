import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { root } from './tools.mjs';
import { commitOf, versionOf } from './version.ts';

export type Architecture = 'amd64' | 'arm64';

const { version: next } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
export const commit = commitOf(root);
/** Given where the sources are no checkout: an unpacked archive, or a copy. */
export const version = process.env.PACKAGE_VERSION ?? versionOf(next, commit);
/** Seconds since 1970: of the commit, and of every file that is packed */
export const builtAt = Number(
  process.env.SOURCE_DATE_EPOCH ??
    execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8' }),
);
/** YYYY-MM-DD */
export const builtOn = new Date(builtAt * 1000).toISOString().slice(0, 10);

/** A file of `packaging/debian`. */
export function debianFile(name: string): string {
  return readFileSync(join(root, 'packaging/debian', name), 'utf8');
}

/** Level 9, no name and no time in it: the same text gives the same bytes. */
export function gzip(text: string | Buffer): Buffer {
  return gzipSync(text, { level: 9 });
}

/** What npm's lock file calls `sha512-…`, in hexadecimal. */
export function hexOf(integrity: string): string {
  return Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex');
}
