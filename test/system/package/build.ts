import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codeCacheOf } from '../../../packaging/program.mjs';
import { root } from '../../../packaging/tools.mjs';
import { commitOf, versionOf } from '../../../packaging/version.ts';
import type { Architecture } from '../boot/image.ts';

const sources = [
  'CHANGELOG.md',
  'LICENSE',
  'fleet',
  'package-lock.json',
  'package.json',
  'packaging',
  'scripts',
  'src',
  'systemd',
  'tsconfig.json',
];

/**
 * Makes a package here, and once more from a copy of the sources in a folder of another name, under another umask,
 * user's home and time zone.
 *
 * @returns both files; the second, packed with `COMPRESSION=fast`, is removed when the process ends
 */
export function buildTwice(architecture: Architecture): [string, string] {
  const folder = mkdtempSync(join(tmpdir(), 'a-copy-elsewhere-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const name of sources) cpSync(join(root, name), join(folder, name), { recursive: true });
  // Copied, as the bundle tells the modules' paths apart from the folder that they lie in.
  execFileSync('cp', ['-a', '--reflink=auto', join(root, 'node_modules'), folder]);
  symlinkSync(join(root, '.tools'), join(folder, '.tools'));
  const git = ['log', '-1', '--format=%ct'];
  const epoch =
    process.env.SOURCE_DATE_EPOCH ?? execFileSync('git', git, { cwd: root, encoding: 'utf8' }).trim();
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const env = {
    ...process.env,
    SOURCE_DATE_EPOCH: epoch,
    PACKAGE_VERSION: versionOf(version, commitOf(root)),
  };
  const name = make(root, architecture, 'umask 022', env);
  // The compressor is the same program with the same input: once is enough of the minute that it takes.
  make(folder, architecture, 'umask 027', {
    ...env,
    TZ: 'Pacific/Auckland',
    LC_ALL: 'C',
    COMPRESSION: 'fast',
    // V8 decides what it compiles, now and then otherwise on a busy machine: the cache is a material of the build.
    CODE_CACHE: codeCacheOf(architecture),
  });
  const second = join(folder, name);
  renameSync(join(folder, 'dist', name), second);
  return [join(root, 'dist', name), second];
}

/** @returns the name of the package */
function make(folder: string, architecture: Architecture, umask: string, env: NodeJS.ProcessEnv): string {
  const command = `${umask}; node scripts/build.mjs && node --import tsx packaging/package.ts ${architecture}`;
  const said = execFileSync('sh', ['-c', command], {
    cwd: folder,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const name = /(onboardd_\S+\.deb)/.exec(said)?.[1];
  if (name === undefined) throw new Error(`no package was made: ${said}`);
  return name;
}
