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
  /** By name: several key files are looked at in turn, and to open one takes a process. */
  const opened = new Map<string, { readonly sealed: string; readonly text: string }>();
  const read = (name: string) => {
    const sealed = directory.read(name);
    if (sealed === null || !keyNames.includes(name) || !isSealed(sealed)) {
      opened.delete(name);
      return sealed;
    }
    const known = opened.get(name);
    if (known?.sealed === sealed) return known.text;
    const text = sealer.unseal(name, sealed);
    opened.set(name, { sealed, text });
    return text;
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

/** What passes by itself, as systemd-creds puts it in the C locale; `tpm:warn`: a TPM that is busy, or starts */
const passing =
  /temporarily unavailable|resource busy|timed out|Cannot allocate|Too many open|Interrupted|Input\/output error|No such device|tpm:warn/;

/** @param withKey as `systemd-creds --with-key=` takes it */
export function systemdSealer(withKey: string): Sealer {
  return {
    seal(name, text) {
      const sealed = systemdCreds('encrypt', [`--with-key=${withKey}`, `--name=${name}`], text);
      if (typeof sealed === 'string') return sealed;
      const what = `${name} cannot be sealed: ${sealed.cause}`;
      throw new OnboardingError('STATE_UNWRITABLE', what, { reason: 'seal-failed' });
    },
    unseal(name, sealed) {
      const text = systemdCreds('decrypt', [`--name=${name}`], sealed);
      if (typeof text === 'string') return text;
      if (text.isRefusal) {
        const what = `${name} is sealed and cannot be opened: ${text.cause}`;
        throw new OnboardingError('STATE_CORRUPT', what, { reason: 'key-sealed' });
      }
      const what = `${name} is sealed and cannot be opened now: ${text.cause}`;
      throw new OnboardingError('STATE_UNWRITABLE', what, { reason: 'unseal-failed' });
    },
  };
}

/** `isRefusal`: it ran, and will say the same next time */
function systemdCreds(
  verb: string,
  args: readonly string[],
  input: string,
): string | { readonly cause: string; readonly isRefusal: boolean } {
  const { status, signal, stdout, stderr, error } = spawnSync('systemd-creds', [verb, ...args, '-', '-'], {
    input,
    encoding: 'utf8',
    timeout: longestMs,
    env: { ...process.env, LC_ALL: 'C' },
  });
  if (status === 0) return stdout;
  const said = (stderr ?? '').trim();
  const last = said.split('\n').at(-1) || `systemd-creds ended with ${status ?? signal}`;
  // One that ends without reading its input has a status, and an error of the pipe.
  return status === null
    ? { cause: error?.message ?? last, isRefusal: false }
    : { cause: last, isRefusal: !passing.test(said) };
}
