/** Finds strace for the suites that trace the program, or fetches it into `.tools` without root. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { download, toolsDir } from './nats-server.mjs';

const installedDir = join(toolsDir, 'strace');
const binaries = join(installedDir, 'usr/bin');

/**
 * PATH on which strace is found: as it is, or with the one that was fetched into `.tools`.
 *
 * @returns {Promise<string>}
 * @throws {Error} if there is none and none can be fetched
 */
export async function pathWithStrace({ log = (line) => console.error(line) } = {}) {
  const usual = process.env.PATH ?? '';
  if (works('strace')) return usual;
  if (!works(join(binaries, 'strace'))) await fetchStrace(log);
  return `${binaries}${delimiter}${usual}`;
}

/** Whether it runs, its libraries included. */
const works = (program) => spawnSync(program, ['-V'], { stdio: 'ignore' }).status === 0;

async function fetchStrace(log) {
  log(`strace: not found, fetching the system's Debian package into ${installedDir}`);
  await mkdir(toolsDir, { recursive: true });
  const dir = await mkdtemp(join(toolsDir, '.strace-'));
  try {
    execFileSync('dpkg', ['-x', await download(dir, 'strace'), join(dir, 'unpacked')]);
    await rename(join(dir, 'unpacked'), installedDir).catch((error) => {
      // Another run was faster.
      if (!existsSync(binaries)) throw error;
    });
  } catch (cause) {
    throw new Error(`strace cannot be fetched (${cause.message}): install strace`, { cause });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  if (works(join(binaries, 'strace'))) return;
  await rm(installedDir, { recursive: true, force: true });
  throw new Error('the strace that was fetched does not run here, as it lacks a library: install strace');
}
