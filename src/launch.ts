// First: the key of a new device is made on another thread, while the bundle is read and the other modules load.
import './adapters/earlyKey.ts';
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import Module from 'node:module';
import { dirname, join } from 'node:path';
import { Script, constants as vmConstants } from 'node:vm';

/**
 * Starts the bundle with V8's code cache of an earlier, complete run: reading the cache takes a fraction of compiling the
 * bundle. The single executable has bundle and cache inside (packaging/program.mjs). In a checkout both lie beside this
 * file, and a complete run leaves the cache: one of another bundle or runtime, a damaged one, or one that another user could
 * have written is not used and is replaced; a folder that cannot be written stays without.
 */
const bundle = join(__dirname, 'program.cjs');
const place = join(__dirname, 'program.cache');

interface Opened {
  readonly bytes: Buffer;
  readonly at: {
    readonly uid: number;
    readonly mode: number;
    readonly ino: number;
    readonly ctimeMs: number;
  };
}

function open(path: string): Opened {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const at = fstatSync(file);
    if (!at.isFile()) throw new Error(`${path} is not a regular file`);
    return { bytes: readFileSync(file), at };
  } finally {
    closeSync(file);
  }
}

/** What a cache is good for: V8 itself compares only versions, flags and the length of the source. */
function headerOf(program: Opened, data: Buffer): string {
  const { ino, ctimeMs } = program.at;
  const { version, arch, platform } = process;
  const runtime = [version, arch, platform, process.versions.v8].join(' ');
  const digest = createHash('sha1').update(data).digest('hex');
  return `${runtime} ${program.bytes.length} ${ino} ${ctimeMs} ${digest}\n`;
}

/** @returns undefined without one that may be used */
function readCache(program: Opened): Buffer | undefined {
  try {
    const { bytes, at } = open(place);
    const isOurs = [0, process.geteuid?.(), program.at.uid].includes(at.uid) && (at.mode & 0o022) === 0;
    const end = bytes.indexOf(0x0a) + 1;
    const data = bytes.subarray(end);
    return isOurs && bytes.toString('latin1', 0, end) === headerOf(program, data) ? data : undefined;
  } catch {
    return undefined;
  }
}

function writeCache(program: Opened, script: Script): void {
  // One name: what a kill leaves is overwritten, and what two processes write at once has no valid digest.
  const temporary = `${place}.tmp`;
  try {
    const data = script.createCachedData();
    writeFileSync(temporary, Buffer.concat([Buffer.from(headerOf(program, data)), data]), { mode: 0o644 });
    renameSync(temporary, place);
  } catch {
    // Without a cache the program starts as well; what is left of it is overwritten one day.
  }
}

/**
 * The bundle is a function of what a module of CommonJS is given (scripts/build.mjs): a text that is put together here would
 * be copied once more.
 *
 * @param filename by which stack traces name the bundle
 */
function compile(bytes: Buffer, filename: string, cachedData: Uint8Array | undefined): Script {
  // esbuild writes ASCII only, which V8 keeps in one byte for each character.
  return new Script(bytes.toString('latin1'), {
    filename,
    cachedData: cachedData as Buffer | undefined,
    importModuleDynamically: vmConstants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
}

function launchCheckout(): void {
  const program = open(bundle);
  const cachedData = readCache(program);
  const script = compile(program.bytes, bundle, cachedData);
  if (cachedData === undefined || script.cachedDataRejected === true) {
    Object.assign(globalThis, { [Symbol.for('onboardd.complete')]: () => writeCache(program, script) });
  }
  const entry = new Module(bundle, module);
  entry.filename = bundle;
  entry.loaded = true;
  require.cache[bundle] = entry;
  script.runInThisContext()(entry.exports, require, entry, bundle, dirname(bundle));
}

/** The assets are a part of the executable: neither is copied, and nobody else can have written them. */
function launchExecutable({ getRawAsset }: typeof import('node:sea')): void {
  const bytes = Buffer.from(getRawAsset('program.cjs') as ArrayBuffer);
  const script = compile(
    bytes,
    'dist/program.cjs',
    new Uint8Array(getRawAsset('program.cache') as ArrayBuffer),
  );
  const entry = { exports: {} };
  script.runInThisContext()(entry.exports, require, entry, __filename, __dirname);
}

const sea = process.getBuiltinModule?.('node:sea');
if (sea?.isSea()) launchExecutable(sea);
else launchCheckout();
