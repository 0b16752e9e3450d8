import { existsSync, fstatSync, readFileSync } from 'node:fs';
import { arch } from 'node:os';
import { join } from 'node:path';
import type { HostDefaults } from '../config/schema.ts';
import { readRegularFile } from './regularFile.ts';

const goNames: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  mipsel: 'mipsle',
  ppc64: 'ppc64le',
};

/** Facts of this machine for the configuration's defaults. */
export function hostDefaults(environment: NodeJS.ProcessEnv): HostDefaults {
  return {
    stateDir: environment.STATE_DIRECTORY?.split(':')[0] || '/var/lib/onboardd',
    architecture: goNames[arch()] ?? arch(),
    buildVersion: buildVersion('/etc/os-release'),
    tokenFile: credential(environment, 'provisioning.token'),
    caFile: credential(environment, 'provisioning.ca'),
    logFormat: isJournal(environment.JOURNAL_STREAM) ? 'journal' : process.stdout.isTTY ? 'pretty' : 'json',
  };
}

/** `LoadCredential=` of systemd.exec(5). @returns the file; null without such a credential */
function credential({ CREDENTIALS_DIRECTORY }: NodeJS.ProcessEnv, name: string): string | null {
  const path = CREDENTIALS_DIRECTORY ? join(CREDENTIALS_DIRECTORY, name) : null;
  return path !== null && existsSync(path) ? path : null;
}

/** @returns the first line of the file; null if it holds none, or cannot be read */
export function hostNameIn(file: string): string | null {
  try {
    const [line = ''] = (readRegularFile(file) ?? '').trim().split('\n');
    return line.trim() || null;
  } catch {
    return null;
  }
}

/** os-release(5): the image's version, else the build's, else the system's. */
function buildVersion(path: string): string | null {
  try {
    const lines = readFileSync(path, 'utf8').split('\n');
    const value = (name: string) =>
      lines
        .find((line) => line.startsWith(`${name}=`))
        ?.slice(name.length + 1)
        .trim()
        .replace(/^(["'])(.*)\1$/, '$2');
    return value('IMAGE_VERSION') || value('BUILD_ID') || value('VERSION_ID') || null;
  } catch {
    return null;
  }
}

/** systemd.exec(5): standard output is the journal if it has the named device and inode. */
function isJournal(stream: string | undefined): boolean {
  if (stream === undefined) return false;
  const { dev, ino } = fstatSync(1);
  return stream === `${dev}:${ino}`;
}
