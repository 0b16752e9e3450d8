/** The optional package for keys in hardware, as it comes to devices. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../../../packaging/tools.mjs';
import type { Architecture } from '../boot/image.ts';
import { throwAwayKey } from './origins.ts';

const dist = join(root, 'dist');

/**
 * Made after the package that it belongs to: it wants the libraries that it was compiled for, and SHA256SUMS, provenance and
 * the repository have both.
 */
export function optionalPart(architecture: Architecture, deb: string, tell: (what: string) => void): void {
  const run = (...args: string[]) =>
    execFileSync(process.execPath, ['--import', 'tsx', ...args], {
      cwd: root,
      encoding: 'utf8',
      stdio: 'pipe',
    });
  const version = /onboardd_(.*)_[^_]+\.deb$/.exec(deb)?.[1] ?? '';
  const name = `onboardd-pkcs11_${version}_${architecture}.deb`;
  const env = process.env.PACKAGE_VERSION;
  process.env.PACKAGE_VERSION = version;
  try {
    run('packaging/package.ts', 'pkcs11', architecture);
  } finally {
    if (env === undefined) delete process.env.PACKAGE_VERSION;
    else process.env.PACKAGE_VERSION = env;
  }
  const folder = mkdtempSync(join(tmpdir(), 'optional-'));
  try {
    const file = join(dist, name);
    execFileSync('dpkg-deb', ['-x', file, join(folder, 'tree')]);
    const library = join(
      folder,
      'tree/usr/lib/onboardd/pkcs11/node_modules/pkcs11js/build/Release/pkcs11.node',
    );
    const wanted = execFileSync('readelf', ['--version-info', '--wide', library], { encoding: 'utf8' });
    const versions = [...wanted.matchAll(/Name: GLIBC_([\d.]+)/g)].map(([, found = '']) => found);
    const depends = execFileSync('dpkg-deb', ['--field', file, 'Depends'], { encoding: 'utf8' });
    const libc = /libc6 \(>= ([\d.]+)\)/.exec(depends)?.[1] ?? '';
    const isAtLeast = (one: string) => execFileSync('dpkg', ['--compare-versions', libc, 'ge', one]);
    versions.forEach(isAtLeast);
    assert.ok(versions.includes(libc), `it needs ${versions.join(', ')}, and wants libc6 ${libc}`);
    assert.match(depends, new RegExp(`onboardd \\(= ${version.replaceAll('.', '\\.')}\\)`));
    tell(`wants ${depends.trim()}`);
    execFileSync('sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: dist });
    const sums = readFileSync(join(dist, 'SHA256SUMS'), 'utf8');
    for (const one of [
      name,
      `onboardd_${version}_${architecture}.deb`,
      `onboardd-pkcs11-${version}.intoto.json`,
    ])
      assert.ok(sums.includes(`  ${one}\n`), `SHA256SUMS lacks ${one}`);
    const out = join(folder, 'out');
    run('packaging/repository.ts', '--key', throwAwayKey(folder), '--out', out);
    const index = readFileSync(join(out, `dists/stable/main/binary-${architecture}/Packages`), 'utf8');
    const offered = [...index.matchAll(/^Package: (.*)$/gm)].map(([, one]) => one);
    assert.deepEqual(offered.sort(), ['onboardd', 'onboardd-pkcs11']);
    const listed = sums.split('\n').filter((line) => line.endsWith('.deb'));
    assert.equal(readdirSync(join(out, 'pool/main/o/onboardd')).length, listed.length);
    tell('SHA256SUMS and the repository have it beside the package');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
