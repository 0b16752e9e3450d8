/**
 * Makes the packages: `npm run package`, or one architecture: `npm run package -- arm64`.
 *
 *   dist/onboardd_VERSION_ARCH.deb           for Debian and what comes from it
 *   dist/onboardd-VERSION-linux-ARCH.tar.gz  the same tree, for Yocto, Buildroot and image builders of their own
 *   dist/SHA256SUMS                          of both, for `sha256sum --check`
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { jsonSchema } from '../src/config/jsonSchema.ts';
import { commandsOfProgram } from './commands.ts';
import { bashCompletion, zshCompletion } from './completion.ts';
import { manual } from './manual.ts';
import { billOfMaterials, licences } from './parts.mjs';
import { makeProgram, programsFor } from './program.mjs';
import { missingAfterInstalling, root } from './tools.mjs';
import { commitOf, versionOf } from './version.ts';

const { version: next } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
// Given where the sources are no checkout: an unpacked archive, or a copy.
const version = process.env.PACKAGE_VERSION ?? versionOf(next, commitOf(root));
const built = Number(
  process.env.SOURCE_DATE_EPOCH ??
    execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8' }),
);
const date = new Date(built * 1000).toISOString().slice(0, 10);
const debian = (name: string) => readFileSync(join(root, 'packaging/debian', name), 'utf8');

// The modes of what is installed are not the builder's to choose.
process.umask(0o022);
/** sysexits.h: what is needed is not there. */
const unavailable = 69;
const asked = process.argv.slice(2);
const architectures = asked.length > 0 ? asked : ['amd64', 'arm64'];
const missing = missingAfterInstalling(['dpkg-deb', ...architectures.flatMap(programsFor)]);
if (missing.length > 0) {
  console.error(`needed and not there: ${missing.join(', ')}; as root, this command installs them`);
  process.exit(unavailable);
}
const made: string[] = [];
for (const architecture of architectures) {
  const program = await makeProgram(architecture);
  const tree = makeTree(architecture, program);
  for (const file of [archive(architecture, tree), deb(architecture, tree)]) {
    made.push(file);
    console.log(`${file}  ${(statSync(file).size / 2 ** 20).toFixed(1)} MiB`);
  }
}
writeFileSync(join(root, 'dist/SHA256SUMS'), made.map(sumOf).sort().join(''));

/** A line as sha256sum(1) writes and checks it. */
function sumOf(file: string): string {
  const sum = createHash('sha256').update(readFileSync(file)).digest('hex');
  return `${sum}  ${basename(file)}\n`;
}

/** What is installed, as it lies below `/`. */
function makeTree(architecture: string, program: string): string {
  const tree = join(root, 'dist', architecture, 'tree');
  rmSync(tree, { recursive: true, force: true });
  const put = (path: string, text: string | Buffer, mode = 0o644) => {
    mkdirSync(dirname(join(tree, path)), { recursive: true, mode: 0o755 });
    writeFileSync(join(tree, path), text);
    chmodSync(join(tree, path), mode);
  };
  put('usr/bin/onboardd', '', 0o755);
  copyFileSync(program, join(tree, 'usr/bin/onboardd'));
  for (const unit of readdirSync(join(root, 'systemd'))) {
    const [, kind = ''] = /^onboardd\.(sysusers|tmpfiles|preset)$/.exec(unit) ?? [];
    put(`usr/lib/${placeOf(unit, kind)}`, readFileSync(join(root, 'systemd', unit)));
  }
  put('usr/lib/systemd/catalog/onboardd.catalog', readFileSync(join(root, 'packaging/lib/onboardd.catalog')));
  const commands = commandsOfProgram();
  put('usr/share/man/man8/onboardd.8.gz', gzip(manual(version, date, commands)));
  put('usr/share/bash-completion/completions/onboardd', bashCompletion(commands));
  put('usr/share/zsh/vendor-completions/_onboardd', zshCompletion(commands));
  put('usr/share/onboardd/config.schema.json', `${JSON.stringify(jsonSchema(), null, 2)}\n`);
  put('usr/share/doc/onboardd/sbom.cdx.json', billOfMaterials(version, date));
  put('usr/share/doc/onboardd/third-party-licences.gz', gzip(licences(architecture)));
  put('usr/share/doc/onboardd/copyright', debian('copyright'));
  put('usr/share/doc/onboardd/changelog.gz', gzip(debianChangelog()));
  put('usr/share/lintian/overrides/onboardd', debian('lintian-overrides'));
  for (const name of ['config.json', 'systemd-253.conf'])
    put(`usr/lib/onboardd/${name}`, readFileSync(join(root, 'packaging/lib', name)));
  put('usr/lib/onboardd/is-configured', readFileSync(join(root, 'packaging/lib/is-configured')), 0o755);
  put('etc/default/onboardd', debian('default'));
  mkdirSync(join(tree, 'etc/onboardd/config.d'), { recursive: true, mode: 0o755 });
  symlinkSync('/usr/share/onboardd/config.schema.json', join(tree, 'etc/onboardd/config.schema.json'));
  return tree;
}

/** Where a file of `systemd/` goes, below `/usr/lib`. @param kind empty: a unit */
function placeOf(file: string, kind: string): string {
  if (kind === '') return `systemd/system/${file}`;
  return kind === 'preset' ? `systemd/system-preset/50-${file}` : `${kind}.d/onboardd.conf`;
}

/** The entry of this version: what CHANGELOG.md tells users. */
function debianChangelog(): string {
  const [, newest = ''] = readFileSync(join(root, 'CHANGELOG.md'), 'utf8').split(/^## .*$/m);
  const items = newest
    .trim()
    .split(/^- /m)
    .slice(1)
    .map((item) => `  * ${wrapped(item.trim().replace(/\s+/g, ' '), 74).join('\n    ')}`)
    .join('\n');
  const when = new Date(built * 1000).toUTCString().replace('GMT', '+0000');
  const who = /^Maintainer: (.*)$/m.exec(debian('control'))?.[1];
  return `onboardd (${version}) stable; urgency=medium\n\n${items}\n\n -- ${who}  ${when}\n`;
}

/** Lines of so many columns where the words allow. */
function wrapped(text: string, columns: number): string[] {
  return text.match(new RegExp(`\\S.{0,${columns - 1}}(?=\\s|$)|\\S+`, 'g')) ?? [];
}

function archive(architecture: string, tree: string): string {
  const file = join(root, 'dist', `onboardd-${version}-linux-${architecture}.tar.gz`);
  const fixed = ['--sort=name', `--mtime=@${built}`, '--owner=0', '--group=0', '--numeric-owner'];
  const tar = execFileSync('tar', [...fixed, '-C', tree, '-c', '.'], { maxBuffer: 2 ** 29 });
  writeFileSync(file, gzip(tar));
  return file;
}

function deb(architecture: string, tree: string): string {
  const file = join(root, 'dist', `onboardd_${version}_${architecture}.deb`);
  const control = join(tree, 'DEBIAN');
  mkdirSync(control);
  const files = readdirSync(tree, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const kibibytes = files.reduce((sum, path) => sum + Math.ceil(statSync(path).size / 1024), 0);
  const sums = files
    .filter((path) => !path.includes('/etc/'))
    .map((path) => execFileSync('md5sum', [path], { encoding: 'utf8' }).replace(`${tree}/`, ''));
  writeFileSync(join(control, 'md5sums'), sums.sort().join(''));
  writeFileSync(join(control, 'conffiles'), '/etc/default/onboardd\n');
  writeFileSync(
    join(control, 'control'),
    debian('control')
      .replaceAll('@VERSION@', version)
      .replaceAll('@ARCHITECTURE@', architecture)
      .replaceAll('@SIZE@', String(kibibytes)),
  );
  writeFileSync(join(control, 'triggers'), debian('triggers'));
  for (const script of ['postinst', 'prerm', 'postrm']) {
    writeFileSync(join(control, script), debian(script));
    chmodSync(join(control, script), 0o755);
  }
  for (const path of readdirSync(tree, { recursive: true, encoding: 'utf8' })) {
    if (path !== 'etc/onboardd/config.schema.json') utimesSync(join(tree, path), built, built);
  }
  // One thread: several cut the data where the number of cores says, and the bytes would differ.
  execFileSync('dpkg-deb', ['--root-owner-group', '-Zxz', '-z3', '--threads-max=1', '--build', tree, file], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, SOURCE_DATE_EPOCH: String(built) },
  });
  rmSync(control, { recursive: true });
  return file;
}

/** Level 9, no name and no time in it: the same text gives the same bytes. */
function gzip(text: string | Buffer): Buffer {
  return gzipSync(text, { level: 9 });
}
