import { spawnSync } from 'node:child_process';
import { OnboardingError } from '../../errors/onboardingError.ts';
import { files, type StateDirectory } from '../../services/state/deviceState.ts';

/** Encrypts for this device, and back. @throws {OnboardingError} STATE_UNWRITABLE, STATE_CORRUPT */
export interface Sealer {
  seal(name: string, text: string): string;
  unseal(name: string, sealed: string): string;
}

const keyNames: readonly string[] = [files.key, files.nextKey, files.previousKey];
const longestMs = 20_000;

/** Base64 as systemd-creds prints it, and no PEM */
export function isSealed(text: string): boolean {
  return /^[A-Za-z0-9+/=\s]{64,}$/.test(text);
}

/**
 * The state directory with sealed key files. What is sealed is read whatever the setting; what is not is sealed by the next
 * look at it, if `isOn`.
 */
export function sealedKeys(directory: StateDirectory, isOn: boolean, sealer: Sealer): StateDirectory {
  let last = { sealed: '', text: '' };
  const read = (name: string) => {
    const text = directory.read(name);
    if (text === null || !keyNames.includes(name) || !isSealed(text)) return text;
    const key = `${name}\n${text}`;
    if (last.sealed !== key) last = { sealed: key, text: sealer.unseal(name, text) };
    return last.text;
  };
  const sealedFor = (name: string, text: string) =>
    isOn && keyNames.includes(name) && text.startsWith('-----BEGIN ') ? sealer.seal(name, text) : text;
  return {
    ...directory,
    read,
    write: (name, text, mode) => directory.write(name, sealedFor(name, text), mode),
    restrict(name, mode) {
      const text = isOn && keyNames.includes(name) ? directory.read(name) : null;
      if (text !== null && !isSealed(text)) directory.write(name, sealedFor(name, text), mode);
      directory.restrict(name, mode);
    },
  };
}

/** @param withKey as `systemd-creds --with-key=` takes it */
export function systemdSealer(withKey: string): Sealer {
  const run = (verb: string, args: readonly string[], input: string) => {
    const { status, stdout, stderr, error } = spawnSync('systemd-creds', [verb, ...args, '-', '-'], {
      input,
      encoding: 'utf8',
      timeout: longestMs,
    });
    if (status === 0) return stdout;
    return new Error(
      error?.message ?? stderr.trim().split('\n').at(-1) ?? `systemd-creds ended with ${status}`,
    );
  };
  return {
    seal(name, text) {
      const sealed = run('encrypt', [`--with-key=${withKey}`, `--name=${name}`], text);
      if (typeof sealed === 'string') return sealed;
      const what = `${name} cannot be sealed: ${sealed.message}`;
      throw new OnboardingError('STATE_UNWRITABLE', what, { cause: sealed, reason: 'seal-failed' });
    },
    unseal(name, sealed) {
      const text = run('decrypt', [`--name=${name}`], sealed);
      if (typeof text === 'string') return text;
      const what = `${name} is sealed and cannot be opened: ${text.message}`;
      throw new OnboardingError('STATE_CORRUPT', what, { cause: text, reason: 'key-sealed' });
    },
  };
}
