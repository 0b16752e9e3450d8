import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { bundled } from '../../../packaging/parts.mjs';
import { runtimeOf, verify } from '../../../packaging/program.mjs';
import { signerWith } from '../../../packaging/signing.ts';
import { fetched, originOf, root } from '../../../packaging/tools.mjs';
import type { Architecture } from '../boot/image.ts';

const json = (file: string) => JSON.parse(readFileSync(file, 'utf8'));
const dist = (name: string) => join(root, 'dist', name);

function assertValid(ajv: Ajv | Ajv2020, schema: object, value: unknown): void {
  assert.ok(ajv.validate(schema, value), ajv.errorsText());
}

/** The bill of materials: valid CycloneDX, and every library that the runtime itself names is in it. @returns count */
export function billOfMaterials(architecture: Architecture, file: string): number {
  const bill = json(file);
  const schema = (name: string) =>
    json(join(fetched('cyclonedx'), 'res/schema', `${name}.SNAPSHOT.schema.json`));
  const ajv = new Ajv({ strict: false, allErrors: true });
  addFormats.default(ajv);
  for (const format of ['iri-reference', 'idn-email']) ajv.addFormat(format, true);
  // The names by which the library's copies refer to each other.
  for (const name of ['spdx', 'jsf-0.82', 'cryptography-defs'])
    ajv.addSchema({ ...schema(name), $id: `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json` });
  assertValid(ajv, schema(`bom-${bill.specVersion}`), bill);

  const { versions } = runtimeOf(architecture);
  const find = (wanted: string) => bill.components.find(({ name }: { name: string }) => name === wanted);
  for (const [name, key] of Object.entries({
    openssl: 'openssl',
    v8: 'v8',
    icu: 'icu',
    nghttp2: 'nghttp2',
    libuv: 'uv',
    zlib: 'zlib',
    llhttp: 'llhttp',
    undici: 'undici',
    'c-ares': 'ares',
  })) {
    const part = find(name);
    assert.equal(part?.version, versions[key], name);
    assert.match(part?.purl ?? '', /^pkg:/);
    assert.match(part?.cpe ?? '', /^cpe:2\.3:a:[^:]+:[^:]+:\d[^:]*:\*:\*:\*:\*:\*:\*:\*$/, name);
  }
  const [ancestor] = find('node').pedigree.ancestors;
  const origin = originOf(architecture);
  assert.deepEqual(
    [ancestor.name, ancestor.version, ancestor.hashes[0].content],
    [origin.name, origin.version, origin.sha512],
  );
  for (const { name, version } of bundled()) {
    const whole = bill.components.map(({ purl }: { purl: string }) => decodeURIComponent(purl));
    assert.ok(whole.includes(`pkg:npm/${name}@${version}`), `${name}@${version}`);
  }
  return bill.components.length;
}

/** The provenance of a package: valid, and about these bytes, this commit and these materials. @returns what it names */
export function provenance(architecture: Architecture, deb: string): string {
  const version = /onboardd_(.*)_[^_]+\.deb$/.exec(deb)?.[1];
  const statement = json(dist(`onboardd-${version}.intoto.json`));
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats.default(ajv);
  assertValid(ajv, json(join(import.meta.dirname, 'provenance.schema.json')), statement);
  const [sum = '', name = ''] = execFileSync('sha256sum', [deb], { encoding: 'utf8' }).split(/\s+/);
  const subject = statement.subject.find((one: { name: string }) => name.endsWith(`/${one.name}`));
  assert.equal(subject?.digest.sha256, sum);
  const { resolvedDependencies: materials } = statement.predicate.buildDefinition;
  const head = spawnSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' });
  const has = (digest: string, value: string) =>
    materials.some((one: { digest: Record<string, string> }) => one.digest[digest] === value);
  if (head.status === 0) assert.ok(has('gitCommit', head.stdout.trim()));
  assert.ok(has('sha512', originOf(architecture).sha512));
  return `${materials.length} materials`;
}

/** A throw-away key signs the sums, and gpgv takes them only as they were. */
export function signature(): void {
  const folder = mkdtempSync(join(tmpdir(), 'signed-'));
  try {
    const key = throwAwayKey(folder);
    using signer = signerWith(key);
    const sums = join(folder, 'SHA256SUMS');
    copyFileSync(dist('SHA256SUMS'), sums);
    signer.sign(sums, `${sums}.asc`);
    writeFileSync(join(folder, 'key.asc'), signer.publicKey());
    const keyring = join(folder, 'key.gpg');
    execFileSync('gpg', [
      '--homedir',
      folder,
      '--batch',
      '--quiet',
      '--dearmor',
      '--output',
      keyring,
      join(folder, 'key.asc'),
    ]);
    const verified = () => spawnSync('gpgv', ['--keyring', keyring, `${sums}.asc`, sums]).status;
    assert.equal(verified(), 0);
    appendFileSync(sums, '\n');
    assert.notEqual(verified(), 0, 'a changed file was taken for a signed one');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @returns a file in a folder: a secret key without a passphrase, good for a day */
export function throwAwayKey(folder: string): string {
  const home = mkdtempSync(join(folder, 'key-'));
  const gpg = (...args: string[]) =>
    execFileSync(
      'gpg',
      ['--homedir', home, '--batch', '--quiet', '--pinentry-mode', 'loopback', '--passphrase', '', ...args],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
  gpg('--quick-generate-key', 'A throw-away key of a test <test@onboardd.invalid>', 'ed25519', 'sign', '1d');
  const file = join(home, 'secret.asc');
  writeFileSync(file, gpg('--armor', '--export-secret-keys'), { mode: 0o600 });
  execFileSync('gpgconf', ['--homedir', home, '--kill', 'all']);
  return file;
}

/** What strip(1) does to the program is found before it is packed. */
export async function strippedIsFound(architecture: Architecture, program: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'stripped-'));
  try {
    const stripped = join(folder, 'onboardd');
    copyFileSync(program, stripped);
    const strip = architecture === 'arm64' ? 'aarch64-linux-gnu-strip' : 'strip';
    execFileSync(strip, [stripped], { stdio: 'ignore' });
    let said = '';
    await verify(architecture, stripped).catch((error: Error) => {
      said = error.message;
    });
    assert.match(said, /does not work: --version ended with \S+ \(a program file that was stripped/);
    return /ended with \S+/.exec(said)?.[0] ?? '';
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
