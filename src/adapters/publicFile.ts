import { closeSync, fchmodSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/**
 * Replaces a file that everybody may read (0644); not durable. Whatever lies at the name of the temporary file, `<path>.tmp`,
 * is removed and never opened: another user of the folder may have put a link to a file of ours there, or a pipe.
 *
 * @throws {Error} of the disk
 */
export function replacePublicFile(path: string, text: string): void {
  const temporary = `${path}.tmp`;
  rmSync(temporary, { force: true });
  const file = openSync(temporary, 'wx', 0o644);
  try {
    // The umask took the rights of others away.
    fchmodSync(file, 0o644);
    writeFileSync(file, text);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
}
