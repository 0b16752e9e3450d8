/**
 * Makes the packages: `npm run package`, or some of it: `npm run package -- arm64 rpm`. Below `dist`:
 *
 *   onboardd_VERSION_ARCH.deb           deb: for Debian and what comes from it
 *   onboardd-VERSION-linux-ARCH.tar.gz  tar: the same tree, for Yocto, Buildroot and image builders of their own
 *   onboardd-VERSION-1.MACHINE.rpm      rpm, if named: for Fedora, RHEL, openSUSE
 *   onboardd-VERSION-ARCH.raw           sysext, if named: for systemd-sysext(8)
 *   onboardd-pkcs11_VERSION_ARCH.deb    pkcs11, if named: the optional part for keys in hardware
 *   onboardd-VERSION.intoto.json        where they come from: SLSA provenance; of pkcs11 alone, onboardd-pkcs11-VERSION.intoto.json
 *   SHA256SUMS                          of all, for `sha256sum --check`; pkcs11, made alone, is added to those of the same version
 *   SHA256SUMS.asc                      its signature, with SIGNING_KEY=FILE or the name of a key of gpg(1)
 *
 * CODE_CACHE=FILE takes the code cache of an earlier build, dist/ARCH/program.cache, for the same bytes; COMPRESSION=fast saves the minute of xz: a package to try, half as large again.
 */
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Architecture, version } from './build.ts';
import { type FormatName, formats } from './formats.ts';
import { hardwareKeysPackage, programsForHardwareKeys } from './hardwareKeys.ts';
import { makeProgram, programsFor } from './program.mjs';
import { provenance } from './provenance.ts';
import { signerWith } from './signing.ts';
import { filesBuilt, sumsOf } from './sums.ts';
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
const hardwareKeys = 'pkcs11';
const strange = asked.filter((name) => name !== hardwareKeys && !isFormat(name) && !isArchitecture(name));
if (strange.length > 0) {
  const allowed = [...known, ...Object.keys(formats), hardwareKeys].join(', ');
  console.error(`"${strange.join(' ')}" is neither an architecture nor a format; allowed: ${allowed}`);
  process.exit(usage);
}
const named = asked.filter(isArchitecture);
const architectures = named.length > 0 ? named : known;
const namedFormats = asked.filter(isFormat);
const hasHardwareKeys = asked.includes(hardwareKeys);
const usual: readonly FormatName[] = hasHardwareKeys ? [] : ['tar', 'deb'];
const chosen = namedFormats.length > 0 ? namedFormats : usual;
const programs = chosen.length > 0 ? architectures : [];
// A secret that is not set is empty in many a build service.
const key = process.env.SIGNING_KEY || undefined;
const needed = [
  ...chosen.flatMap((name) => formats[name].needs),
  ...programs.flatMap(programsFor),
  ...(hasHardwareKeys ? architectures.flatMap(programsForHardwareKeys) : []),
];
const missing = missingAfterInstalling([...needed, ...(key === undefined ? [] : ['gpg'])]);
if (missing.length > 0) {
  console.error(`needed and not there: ${missing.join(', ')}; as root, this command installs them`);
  process.exit(unavailable);
}

if (key !== undefined) signerWith(key)[Symbol.dispose]();

const dist = join(root, 'dist');
const made: string[] = [];
for (const architecture of programs) {
  const tree = makeTree(architecture, await makeProgram(architecture));
  for (const name of chosen) keep(formats[name].pack(architecture, tree));
}
if (hasHardwareKeys) for (const architecture of architectures) keep(await hardwareKeysPackage(architecture));
const isAlone = programs.length === 0;
const earlier = filesBuilt(dist).filter((file) => isKept(basename(file)));
const origin = join(dist, `${isAlone ? 'onboardd-pkcs11' : 'onboardd'}-${version}.intoto.json`);
writeFileSync(origin, provenance({ made, programs, hasHardwareKeys, asked, started }));
const sums = join(dist, 'SHA256SUMS');
writeFileSync(sums, sumsOf([...new Set([...earlier, ...made, origin])]));
rmSync(`${sums}.asc`, { force: true });
if (key !== undefined) {
  using signer = signerWith(key);
  signer.sign(sums, `${sums}.asc`);
  console.log(`${sums}.asc  signed by ${signer.fingerprint}`);
}

function keep(file: string): void {
  made.push(file);
  console.log(`${file}  ${(statSync(file).size / 2 ** 20).toFixed(1)} MiB`);
}

/** Whether a file that was built before stays in SHA256SUMS: the other half of this version, if this build is not both. */
function isKept(name: string): boolean {
  const isOptional = name.startsWith('onboardd-pkcs11');
  return name.includes(version) && (isAlone ? !isOptional : isOptional && !hasHardwareKeys);
}
