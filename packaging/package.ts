/**
 * Makes the packages: `npm run package`, or some of it: `npm run package -- arm64 rpm`. Below `dist`:
 *
 *   onboardd_VERSION_ARCH.deb           deb: for Debian and what comes from it
 *   onboardd-VERSION-linux-ARCH.tar.gz  tar: the same tree, for Yocto, Buildroot and image builders of their own
 *   onboardd-VERSION-1.MACHINE.rpm      rpm, if named: for Fedora, RHEL, openSUSE
 *   onboardd-VERSION-ARCH.raw           sysext, if named: for systemd-sysext(8)
 *   onboardd-VERSION.intoto.json        where they come from: SLSA provenance
 *   SHA256SUMS                          of all, for `sha256sum --check`
 *   SHA256SUMS.asc                      its signature, with SIGNING_KEY=FILE or the name of a key of gpg(1)
 *
 * CODE_CACHE=FILE takes the code cache of an earlier build, dist/ARCH/program.cache, for the same bytes; COMPRESSION=fast saves the minute of xz: a package to try, half as large again.
 */
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Architecture, sha256Of, version } from './build.ts';
import { type FormatName, formats } from './formats.ts';
import { makeProgram, programsFor } from './program.mjs';
import { provenance } from './provenance.ts';
import { signerWith } from './signing.ts';
import { missingAfterInstalling, root } from './tools.mjs';
import { makeTree } from './tree.ts';

/** sysexits.h: wrong usage, and what is needed is not there. */
const usage = 64;
const unavailable = 69;
const known: readonly Architecture[] = ['amd64', 'arm64'];

// The modes of what is installed are not the builder's to choose.
process.umask(0o022);
const started = new Date();
const asked = process.argv.slice(2);
const isFormat = (name: string): name is FormatName => Object.hasOwn(formats, name);
const isArchitecture = (name: string): name is Architecture => (known as readonly string[]).includes(name);
const strange = asked.filter((name) => !isFormat(name) && !isArchitecture(name));
if (strange.length > 0) {
  const allowed = [...known, ...Object.keys(formats)].join(', ');
  console.error(`"${strange.join(' ')}" is neither an architecture nor a format; allowed: ${allowed}`);
  process.exit(usage);
}
const named = asked.filter(isArchitecture);
const architectures = named.length > 0 ? named : known;
const namedFormats = asked.filter(isFormat);
const chosen: readonly FormatName[] = namedFormats.length > 0 ? namedFormats : ['tar', 'deb'];
// A secret that is not set is empty in many a build service.
const key = process.env.SIGNING_KEY || undefined;
const needed = [...chosen.flatMap((name) => formats[name].needs), ...architectures.flatMap(programsFor)];
const missing = missingAfterInstalling([...needed, ...(key === undefined ? [] : ['gpg'])]);
if (missing.length > 0) {
  console.error(`needed and not there: ${missing.join(', ')}; as root, this command installs them`);
  process.exit(unavailable);
}

if (key !== undefined) signerWith(key)[Symbol.dispose]();

const made: string[] = [];
for (const architecture of architectures) {
  const tree = makeTree(architecture, await makeProgram(architecture));
  for (const name of chosen) {
    const file = formats[name].pack(architecture, tree);
    made.push(file);
    console.log(`${file}  ${(statSync(file).size / 2 ** 20).toFixed(1)} MiB`);
  }
}
const origin = join(root, 'dist', `onboardd-${version}.intoto.json`);
writeFileSync(origin, provenance({ made, architectures, asked, started }));
const sums = join(root, 'dist/SHA256SUMS');
const lines = [...made, origin].map((file) => `${sha256Of(file)}  ${basename(file)}\n`);
writeFileSync(sums, lines.sort().join(''));
rmSync(`${sums}.asc`, { force: true });
if (key !== undefined) {
  using signer = signerWith(key);
  signer.sign(sums, `${sums}.asc`);
  console.log(`${sums}.asc  signed by ${signer.fingerprint}`);
}
