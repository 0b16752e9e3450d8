import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { jsonSchema } from '../src/config/jsonSchema.ts';
import { builtAt, builtOn, debianFile, gzip, version } from './build.ts';
import { commandsOfProgram } from './commands.ts';
import { bashCompletion, fishCompletion, zshCompletion } from './completion.ts';
import { manual } from './manual.ts';
import { billOfMaterials, licences } from './parts.mjs';
import { root } from './tools.mjs';

/** Makes what is installed, as it lies below `/`. @returns its folder */
export function makeTree(architecture: string, program: string): string {
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
  put('usr/share/man/man8/onboardd.8.gz', gzip(manual(version, builtOn, commands)));
  put('usr/share/bash-completion/completions/onboardd', bashCompletion(commands));
  put('usr/share/zsh/vendor-completions/_onboardd', zshCompletion(commands));
  put('usr/share/fish/vendor_completions.d/onboardd.fish', fishCompletion(commands));
  put('usr/share/onboardd/config.schema.json', `${JSON.stringify(jsonSchema(), null, 2)}\n`);
  put('usr/share/doc/onboardd/sbom.cdx.json', billOfMaterials(architecture, version, builtOn));
  put('usr/share/doc/onboardd/third-party-licences.gz', gzip(licences(architecture)));
  put('usr/share/doc/onboardd/copyright', debianFile('copyright'));
  put('usr/share/doc/onboardd/changelog.gz', gzip(debianChangelog()));
  put('usr/share/lintian/overrides/onboardd', debianFile('lintian-overrides'));
  for (const name of ['config.json', 'systemd-253.conf'])
    put(`usr/lib/onboardd/${name}`, readFileSync(join(root, 'packaging/lib', name)));
  put('usr/lib/onboardd/is-configured', readFileSync(join(root, 'packaging/lib/is-configured')), 0o755);
  put('etc/default/onboardd', debianFile('default'));
  put('usr/share/onboardd/default', debianFile('default'));
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
  const when = new Date(builtAt * 1000).toUTCString().replace('GMT', '+0000');
  const who = /^Maintainer: (.*)$/m.exec(debianFile('control'))?.[1];
  return `onboardd (${version}) stable; urgency=medium\n\n${items}\n\n -- ${who}  ${when}\n`;
}

/** Lines of so many columns where the words allow. */
function wrapped(text: string, columns: number): string[] {
  return text.match(new RegExp(`\\S.{0,${columns - 1}}(?=\\s|$)|\\S+`, 'g')) ?? [];
}
