import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { missingAfterInstalling } from '../../../packaging/tools.mjs';
import { download, toolsDir } from '../../../scripts/nats-server.mjs';

const unpackedDir = join(toolsDir, 'prometheus');
const binaries = join(unpackedDir, 'usr/bin');

/**
 * Puts what the suite needs of Debian on PATH: Prometheus and node_exporter are only unpacked into `.tools`, as their
 * packages would start services that listen on all addresses; the rest is installed, if the user is root.
 *
 * @returns programs that are not to be had
 */
export async function installForeignPrograms(): Promise<string[]> {
  process.env.PATH = [process.env.PATH, '/usr/sbin', binaries].join(delimiter);
  const missing: string[] = [];
  for (const [program, name] of [
    ['promtool', 'prometheus'],
    ['prometheus-node-exporter', 'prometheus-node-exporter'],
  ] as const)
    if (!isThere(program)) await unpack(name).catch(() => missing.push(program));
  return [...missing, ...missingAfterInstalling(['chromium', 'lnav', 'rsyslogd'])];
}

function isThere(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)));
}

/** @throws {Error} if the package cannot be fetched */
export async function unpack(name: string, into = unpackedDir): Promise<void> {
  console.log(`unpacking the system's package ${name} into ${into}`);
  mkdirSync(toolsDir, { recursive: true });
  const work = mkdtempSync(join(toolsDir, '.unpacking-'));
  try {
    execFileSync('dpkg', ['-x', await download(work, name), join(work, 'unpacked')]);
    mkdirSync(join(into, 'usr/bin'), { recursive: true });
    const from = join(work, 'unpacked/usr/bin');
    for (const file of execFileSync('ls', [from], { encoding: 'utf8' }).trim().split('\n'))
      renameSync(join(from, file), join(into, 'usr/bin', file));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
