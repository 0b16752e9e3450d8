/**
 * Finds a nats-server for the demo, the tests and the benchmarks, or fetches one into `.tools`.
 *
 * As a script it prints the path: `node scripts/nats-server.mjs`.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
export const toolsDir = join(dirname(dirname(fileURLToPath(import.meta.url))), '.tools');
const name = 'nats-server';
const unpackingPrefix = '.nats-server-';
const leftOverAfterMs = 60 * 60 * 1000;
const [leastMajor, leastMinor] = [2, 9];
const whatToDo =
  'install nats-server 2.9 or newer, so that it is on PATH, or name the program in NATS_SERVER';

/**
 * The path of a nats-server of version 2.9 or newer: what `NATS_SERVER` names, else the one on PATH, else the
 * one fetched earlier, else one fetched now from the packages of the Debian system that this is. Fetching changes
 * nothing outside the folder `into`, needs no root, and may run several times at once or be interrupted.
 *
 * @param {{ log?: (line: string) => void, into?: string }} [options] where the one line goes that says what is done, by
 * default stderr; where to fetch it to, by default `.tools`
 * @returns {Promise<string>}
 * @throws {Error} which says what to do, where there is none and none can be fetched
 */
export async function natsServer({ log = (line) => console.error(line), into = toolsDir } = {}) {
  const named = process.env.NATS_SERVER;
  if (named) {
    if (await isUsable(named)) return named;
    throw new Error(`NATS_SERVER is ${named}, which is no nats-server of version 2.9 or newer: ${whatToDo}`);
  }
  return (await found(into)) ?? (await fetched(log, into));
}

async function found(into) {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  return (await firstUsable(folders)) ?? (await installed(into));
}

function installed(into) {
  return firstUsable(['usr/sbin', 'usr/bin'].map((folder) => join(into, name, folder)));
}

async function firstUsable(folders) {
  for (const path of folders.map((folder) => join(folder, 'nats-server'))) {
    if (await isUsable(path)) return path;
  }
  return undefined;
}

async function isUsable(program) {
  try {
    const { stdout } = await run(program, ['--version'], { timeout: 10_000 });
    const [, major, minor] = /v(\d+)\.(\d+)\./.exec(stdout) ?? [];
    return Number(major) > leastMajor || (Number(major) === leastMajor && Number(minor) >= leastMinor);
  } catch {
    return false;
  }
}

async function fetched(log, into) {
  await mkdir(into, { recursive: true });
  await removeLeftOvers(into);
  log(`nats-server: not found, fetching the system's Debian package into ${join(into, name)}`);
  const dir = await mkdtemp(join(into, unpackingPrefix));
  try {
    const unpacked = join(dir, 'unpacked');
    await run('dpkg', ['-x', await download(dir, name), unpacked]);
    await putInPlace(unpacked, into);
  } catch (cause) {
    const [reason] = String(cause?.stderr || cause?.message || cause)
      .trim()
      .split('\n')
      .slice(-1);
    throw new Error(`nats-server cannot be fetched (${reason}): ${whatToDo}`, { cause });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  const path = await installed(into);
  if (!path)
    throw new Error(`the system's nats-server package holds none of version 2.9 or newer: ${whatToDo}`);
  return path;
}

/**
 * Downloads a Debian package into a folder; needs no root. Tries the system's package lists first, then fetches lists of
 * its own.
 *
 * @param {string} dir
 * @param {string} name
 * @returns {Promise<string>} the package's path
 */
export async function download(dir, name) {
  try {
    return await downloadWith(dir, name, await configuration(dir, {}));
  } catch (error) {
    if (error.code === 'ENOENT') throw new Error('there is no apt-get');
    const ownLists = await configuration(dir, {
      'Dir::State': join(dir, 'state'),
      'Dir::State::status': '/var/lib/dpkg/status',
    });
    await mkdir(join(dir, 'state/lists/partial'), { recursive: true });
    // One unreachable source among many fails the update, yet the package may come from another.
    await run('apt-get', ['-c', ownLists, 'update'], { cwd: dir }).catch(() => undefined);
    return downloadWith(dir, name, ownLists);
  }
}

async function downloadWith(dir, packageName, configurationFile) {
  await mkdir(join(dir, 'cache/archives/partial'), { recursive: true });
  await run('apt-get', ['-c', configurationFile, 'download', packageName], { cwd: dir });
  const name = (await readdir(dir)).find((file) => file.endsWith('.deb'));
  if (!name) throw new Error('apt-get downloaded no package');
  return join(dir, name);
}

async function configuration(dir, settings) {
  const all = {
    'Dir::Cache': join(dir, 'cache'),
    'Debug::NoLocking': 'true',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '2',
    'Acquire::http::Timeout': '20',
    'Acquire::https::Timeout': '20',
    ...(process.getuid?.() === 0 ? { 'APT::Sandbox::User': 'root' } : {}),
    ...settings,
  };
  // A system's own hooks run after an update and clean its folders: not on this one's account.
  const hooks = ['Pre-Invoke', 'Post-Invoke', 'Post-Invoke-Success'].map(
    (hook) => `#clear APT::Update::${hook};`,
  );
  const lines = Object.entries(all).map(([name, value]) => `${name} "${value}";`);
  const file = join(dir, 'apt.conf');
  await writeFile(file, `${[...hooks, ...lines].join('\n')}\n`);
  return file;
}

/** A rename either happens whole or not at all; where another run was faster, its result stands. */
async function putInPlace(unpacked, into) {
  const installedDir = join(into, name);
  try {
    await rename(unpacked, installedDir);
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST'].includes(error.code)) throw error;
    if (await installed(into)) return;
    await rm(installedDir, { recursive: true, force: true });
    await rename(unpacked, installedDir);
  }
}

/** Interrupted runs leave their folder; one that is recent may belong to a run still going on. */
async function removeLeftOvers(into) {
  for (const found of await readdir(into)) {
    if (!found.startsWith(unpackingPrefix)) continue;
    const path = join(into, found);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > leftOverAfterMs) await rm(path, { recursive: true, force: true });
  }
}

// Bundled into a program, it is not the script that was started.
const [, started = ''] = process.argv;
if (started.endsWith('nats-server.mjs') && (await realpath(started)) === fileURLToPath(import.meta.url)) {
  try {
    console.log(await natsServer());
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
