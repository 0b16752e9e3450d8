import { type DeviceState, files, type StateDirectory, updateState } from '../state/deviceState.ts';
import type { CertificateReader, KeyReader } from './acceptCertificate.ts';

/**
 * Which keys the disk holds, and which one each certificate of `state.json` is for: the SHA-256 of the
 * SubjectPublicKeyInfo, hex; null: none, or damaged.
 */
export interface KeyFacts {
  readonly key: string | null;
  readonly next: string | null;
  readonly previous: string | null;
  /** Of the certificate in use */
  readonly inUse: string | null;
  /** Of the certificate that a rollback would bring back */
  readonly rollback: string | null;
}

export type KeyStep =
  | 'roll back'
  | 'key becomes previous'
  | 'next becomes key'
  | 'previous becomes key'
  | 'drop next'
  | 'drop previous';

/**
 * The truth table of the key files. `state.json` is the commit point: it says which key is in use, and the files follow,
 * one durable step after the other. Whatever a crash leaves in between leads to the same end, and repeating a step is safe.
 */
export function keySteps({ key, next, previous, inUse, rollback }: KeyFacts): KeyStep[] {
  const keepsPrevious = previous !== null && previous === rollback;
  const tidy: KeyStep[] = previous === null || keepsPrevious ? [] : ['drop previous'];
  if (inUse !== null && inUse === key) {
    const stale: KeyStep[] = previous === key && previous !== null ? ['drop previous'] : tidy;
    return next !== null && next === key ? ['drop next', ...stale] : stale;
  }
  if (inUse !== null && inUse === next) {
    const isKept = key !== null && key === rollback && !keepsPrevious;
    return [...(isKept ? (['key becomes previous'] as const) : tidy), 'next becomes key', 'drop next'];
  }
  if (inUse !== null && inUse === previous) return ['previous becomes key', 'drop previous'];
  // The key in use is lost: a certificate that was replaced, and its key, are better than none.
  if (key === null && keepsPrevious) return ['roll back', 'previous becomes key', 'drop previous'];
  return tidy;
}

export interface KeyPorts {
  readonly directory: StateDirectory;
  readonly pki: CertificateReader & KeyReader;
}

/**
 * Brings the key files in line with the state; no-op on a device that never rotated its key.
 *
 * @param key SHA-256 of the SubjectPublicKeyInfo of `identity.key`, hex; null: there is none
 * @returns state and key as they are then
 * @throws {OnboardingError} STATE_UNWRITABLE: what is left is as good a start as before
 */
export function settleKeys(
  { directory, pki }: KeyPorts,
  state: DeviceState,
  key: string | null,
): { readonly state: DeviceState; readonly key: string | null } {
  const facts = {
    key,
    next: hashOfKey(pki, directory.read(files.nextKey)),
    previous: hashOfKey(pki, directory.read(files.previousKey)),
    inUse: hashOfCertifiedKey(pki, state.provisioned?.certificate),
    rollback: hashOfCertifiedKey(pki, state.previous?.certificate),
  };
  let settled = { state, key };
  for (const step of keySteps(facts)) {
    switch (step) {
      case 'roll back':
        settled = { ...settled, state: rollBack(directory) };
        break;
      case 'key becomes previous':
        copy(directory, files.key, files.previousKey);
        break;
      case 'next becomes key':
        copy(directory, files.nextKey, files.key);
        settled = { ...settled, key: facts.next };
        break;
      case 'previous becomes key':
        copy(directory, files.previousKey, files.key);
        settled = { ...settled, key: facts.previous };
        break;
      case 'drop next':
        directory.remove(files.nextKey);
        break;
      case 'drop previous':
        directory.remove(files.previousKey);
        break;
    }
  }
  return settled;
}

/** Brings the replaced certificate back, for good: there is one rollback. The key files follow by `settleKeys`. */
export function rollBack(directory: StateDirectory): DeviceState {
  return updateState(directory, ({ provisioned, previous, pinnedCa }) => ({
    provisioned: previous ?? provisioned,
    previous: null,
    candidate: null,
    pinnedCa: pinnedCa === null ? null : (previous?.caCertificate ?? pinnedCa),
  }));
}

/** @returns the private key, of those on disk, that a certificate is for; null: none is */
export function keyFor({ directory, pki }: KeyPorts, certificate: string): string | null {
  const wanted = hashOfCertifiedKey(pki, certificate);
  for (const name of [files.key, files.nextKey, files.previousKey]) {
    const pem = directory.read(name);
    if (wanted !== null && pem !== null && hashOfKey(pki, pem) === wanted) return pem;
  }
  return null;
}

function copy(directory: StateDirectory, from: string, to: string): void {
  const pem = directory.read(from);
  if (pem !== null) directory.write(to, pem, 0o600);
}

/** @returns SHA-256 of its SubjectPublicKeyInfo, hex; null: no key, or a damaged one */
function hashOfKey(pki: KeyReader, pem: string | null): string | null {
  try {
    return pem === null ? null : pki.spkiSha256Of(pem);
  } catch {
    return null;
  }
}

/** @returns that of the key that the certificate is for; null: no certificate, or a damaged one */
function hashOfCertifiedKey(pki: CertificateReader, certificate: string | undefined): string | null {
  try {
    return certificate === undefined ? null : (pki.parseCertificates(certificate)[0]?.spkiSha256 ?? null);
  } catch {
    return null;
  }
}
