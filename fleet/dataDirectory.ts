import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { type Authority, createAuthority } from './ca.ts';

/** A person can put it right: the message says how. */
export class WorkbenchError extends Error {}

export interface DataDirectory {
  readonly path: string;
  /** The authority of this name, made at the first start and kept. */
  authority(name: string, commonName: string): Promise<Authority>;
  /** A random secret, made at the first start and kept: 32 hex digits. */
  secret(name: string): Promise<string>;
  release(): void;
}

/**
 * Takes the folder that holds what survives a restart; made if it does not exist, for its owner only.
 *
 * @throws {WorkbenchError} where another workbench uses it, or it is not a folder
 */
export async function openDataDirectory(dir: string): Promise<DataDirectory> {
  const path = resolve(dir);
  await mkdir(path, { recursive: true, mode: 0o700 }).catch((cause: Error) => {
    throw new WorkbenchError(`cannot use ${path} as data directory: ${cause.message}`, { cause });
  });
  const { mode } = await stat(path);
  if ((mode & 0o022) !== 0)
    throw new WorkbenchError(`others may write to ${path}, which would hold the key of the CA: chmod go-w`);
  const release = await lock(path);
  return {
    path,
    async authority(name, commonName) {
      const file = join(path, `${name}.pem`);
      const kept = await readFile(file, 'utf8').catch(missing);
      if (kept !== undefined) {
        const at = kept.indexOf('-----BEGIN PRIVATE KEY-----');
        return createAuthority({ kept: { pem: kept.slice(0, at), key: kept.slice(at) } });
      }
      const made = await createAuthority({ commonName });
      await writeSecret(file, made.pem + made.key);
      return made;
    },
    async secret(name) {
      const file = join(path, name);
      const kept = await readFile(file, 'utf8').catch(missing);
      if (kept !== undefined && /^[0-9a-f]{32}$/.test(kept.trim())) return kept.trim();
      const made = randomBytes(16).toString('hex');
      await writeSecret(file, `${made}\n`);
      return made;
    },
    release,
  };
}

/** An abstract socket of the folder's name: it goes with the process, however that ends (unix(7)). */
function lock(path: string): Promise<() => void> {
  const name = createHash('sha256').update(path).digest('hex').slice(0, 32);
  const server = createServer((socket) => socket.destroy()).unref();
  return new Promise((resolveLock, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        cause.code === 'EADDRINUSE'
          ? new WorkbenchError(`another workbench uses ${path}: stop it, or name another folder with --data`)
          : cause,
      ),
    );
    server.listen(`\0onboardd-fleet-${name}`, () => resolveLock(() => server.close()));
  });
}

async function writeSecret(file: string, text: string): Promise<void> {
  const handle = await open(`${file}.new`, 'w', 0o600);
  await handle.writeFile(text);
  await handle.sync();
  await handle.close();
  await rename(`${file}.new`, file);
}

function missing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}
