/**
 * Makes the optional package for keys in hardware: `npm run package:hardware-keys`, or one architecture: `-- arm64`.
 *
 *   dist/onboardd-pkcs11_VERSION_ARCH.deb    /usr/lib/onboardd/pkcs11, which the program loads if it is configured
 */
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
import { missingAfterInstalling, root } from './tools.mjs';
import { commitOf, versionOf } from './version.ts';

const { version: next } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
const version = process.env.PACKAGE_VERSION ?? versionOf(next, commitOf(root));
const built = Number(
  process.env.SOURCE_DATE_EPOCH ??
    execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8' }),
);

process.umask(0o022);
/** sysexits.h: what is needed is not there. */
const unavailable = 69;
const asked = process.argv.slice(2) as ('amd64' | 'arm64')[];
const architectures = asked.length > 0 ? asked : (['amd64', 'arm64'] as const);
const missing = missingAfterInstalling(['dpkg-deb', ...architectures.map(compilerFor)]);
if (missing.length > 0) {
  console.error(`needed and not there: ${missing.join(', ')}; as root, this command installs them`);
  process.exit(unavailable);
}
for (const architecture of architectures) {
  const tree = join(root, 'dist', architecture, 'pkcs11-tree');
  rmSync(tree, { recursive: true, force: true });
  const part = join(tree, 'usr/lib/onboardd/pkcs11');
  await makePart(architecture, part);
  const documents = join(tree, 'usr/share/doc/onboardd-pkcs11');
  mkdirSync(documents, { recursive: true });
  cpSync(join(root, 'packaging/debian/copyright'), join(documents, 'copyright'));
  cpSync(join(part, 'node_modules/pkcs11js/LICENSE'), join(documents, 'pkcs11js-licence'));
  console.log(deb(architecture, tree));
}

function deb(architecture: string, tree: string): string {
  const file = join(root, 'dist', `onboardd-pkcs11_${version}_${architecture}.deb`);
  const files = readdirSync(tree, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const bytes = files.reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
  mkdirSync(join(tree, 'DEBIAN'));
  const control = readFileSync(join(root, 'packaging/debian/control-pkcs11'), 'utf8')
    .replaceAll('@VERSION@', version)
    .replaceAll('@ARCHITECTURE@', architecture)
    .replaceAll('@SIZE@', String(Math.ceil(bytes / 1024)));
  writeFileSync(join(tree, 'DEBIAN/control'), control);
  for (const path of readdirSync(tree, { recursive: true, encoding: 'utf8' }))
    utimesSync(join(tree, path), built, built);
  execFileSync('dpkg-deb', ['--root-owner-group', '-Zxz', '--threads-max=1', '--build', tree, file], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, SOURCE_DATE_EPOCH: String(built) },
  });
  return file;
}
