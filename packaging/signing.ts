import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** An OpenPGP key, ready to sign. */
export interface Signer extends Disposable {
  readonly fingerprint: string;
  /** Writes a detached signature, armoured unless `binary`, beside a file. */
  sign(file: string, signature: string): void;
  /** Writes the text of a file with its signature around it. */
  clearSign(file: string, signed: string): void;
  /** @returns the public key, armoured */
  publicKey(): string;
}

/**
 * @param key a file with a secret key (`gpg --export-secret-keys --armor`), or the name of one in the user's own keyring
 * @throws {Error} if there is no such key
 */
export function signerWith(key: string): Signer {
  const isFile = statSync(key, { throwIfNoEntry: false })?.isFile() === true;
  const home = isFile ? mkdtempSync(join(tmpdir(), 'gnupg-')) : undefined;
  if (home !== undefined) chmodSync(home, 0o700);
  const gpg = (...args: string[]) =>
    execFileSync(
      'gpg',
      [...(home === undefined ? [] : ['--homedir', home]), '--batch', '--quiet', '--yes', ...args],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
  const dispose = () => {
    if (home === undefined) return;
    try {
      execFileSync('gpgconf', ['--homedir', home, '--kill', 'all'], { stdio: 'ignore' });
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  };
  try {
    if (isFile) gpg('--import', key);
    const listed = gpg('--with-colons', '--list-secret-keys', ...(isFile ? [] : [key]));
    const fingerprint = /^fpr:+([0-9A-F]{40}):/m.exec(listed)?.[1];
    if (fingerprint === undefined) throw new Error(`${key} holds no secret key`);
    const made = ['--local-user', fingerprint, '--digest-algo', 'SHA512', '--armor'];
    return {
      fingerprint,
      sign: (file, signature) => void gpg(...made, '--output', signature, '--detach-sign', file),
      clearSign: (file, signed) => void gpg(...made, '--output', signed, '--clear-sign', file),
      publicKey: () => gpg('--armor', '--export', fingerprint),
      [Symbol.dispose]: dispose,
    };
  } catch (error) {
    dispose();
    throw error;
  }
}
